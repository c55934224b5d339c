// Webhooks by the Standard Webhooks 1.0.0 rules (standardwebhooks.com), as OpenAI sends them: the
// stock SDK's `client.webhooks.unwrap()` verifies ours unchanged. What to send and when to retry is
// the ledger's outbox; this is how one delivery is signed, guarded and made.
#pragma once
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"

namespace dlls::gateway {

// "whsec_" and the base64 of 32 random bytes.
std::string new_webhook_secret();

// The value of `webhook-signature`: "v1," and base64(HMAC-SHA-256(secret, "id.timestamp.body")).
// invalid_argument when the secret is not "whsec_" + base64 of 24..64 bytes.
base::result<std::string> sign_webhook(
    std::string_view secret, std::string_view id, std::int64_t timestamp_s, std::string_view body);

// The receiver's side, for tests and for people who embed us: true when any of the space-separated
// signatures matches and the timestamp is within the tolerance.
bool verify_webhook(
    std::string_view secret, std::string_view id, std::int64_t timestamp_s, std::string_view body,
    std::string_view signatures, std::int64_t now_s, std::int64_t tolerance_s = 300);

// {"id","object":"event","created_at","type","data":{"id"}}: thin; the receiver fetches the object.
std::string webhook_event_body(
    std::string_view event_id, std::string_view type, std::int64_t created_s,
    std::string_view object_id);

// How long after the failure of try number `attempt` (1 = the first) the next one is due: 5 s,
// 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h, 24 h, each plus up to 10 % by `chance` in [0, 1).
// None: that was the last one; disable the endpoint.
std::optional<std::chrono::milliseconds> webhook_retry_delay(unsigned attempt, double chance);

struct webhook_target {
  std::string url;  // https, or http where allow_private
  std::string secret;
  bool allow_private = false;  // the owner's own machine or LAN; lifts both parts of the guard
};
struct webhook_message {
  std::string id;    // "evt_...": the same on every try
  std::string body;  // JSON
};
struct webhook_outcome {
  unsigned status = 0;
  bool delivered = false;                           // any 2xx
  bool disable = false;                             // 410: the receiver wants no more
  std::optional<std::chrono::seconds> retry_after;  // the receiver's wish, at most a day
};

struct webhook_options {
  std::chrono::milliseconds timeout{15'000};  // connect to the last byte that counts
  std::string ca_file;                        // empty: the system's certificates
};

// Makes one delivery; blocks for at most the timeout and the system's own resolver. Call it on a
// thread that may wait. Resolves once, refuses the name if any of its addresses is not public,
// connects to one of the addresses just checked, checks the certificate against the name, follows
// no redirect, reads at most 16 KiB of the answer and hands none of it on. An answer of any status
// is a value; invalid_argument: the URL's form; permission_denied: the guard (an error in
// resolving is `unavailable` and never lets anything through); unavailable: no connection, TLS
// refused; deadline_exceeded.
base::result<webhook_outcome> send_webhook(
    const webhook_target& target, const webhook_message& message, std::int64_t now_s,
    const webhook_options& options = {});

// The guard's two parts, for registration and for tests. `check_webhook_url` looks at the form
// alone: https (http with allow_private), a host, no user information, no fragment.
base::result<> check_webhook_url(std::string_view url, bool allow_private);
// True for an address of the public internet: neither private, loopback, link-local, shared
// (CGNAT), unique-local, documentation, benchmarking, multicast, reserved, unspecified nor one of
// those inside an IPv6 address (v4-mapped, v4-compatible, NAT64, 6to4, Teredo). False for
// anything that is not an IP address.
bool is_public_address(std::string_view address);

}  // namespace dlls::gateway

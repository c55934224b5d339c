// How a new machine gets its certificate: a token that a person carries over, once.
//
// `dlls-join.<secret>.<ca>`: 32 random bytes (base64url) and the SHA-256 of the coordinator's CA
// certificate (hexadecimal). The joining side checks the certificates it is shown against <ca>
// within the TLS handshake, before it sends anything; then it sends the secret, a name and a
// certificate request, and gets a certificate. All of it happens under the ALPN name "dlls-join/1",
// in two records of at most 8 KiB, and ends before any byte of CAF.
#pragma once
#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/error.hpp"
#include "runtime/link/identity.hpp"
#include "runtime/link/pki.hpp"

namespace dlls::runtime::link {

inline constexpr std::size_t join_record_bytes_max = 8u << 10;

struct join_token {
  std::string secret;          // 32 bytes in base64url: 43 characters
  std::string ca_fingerprint;  // 64 hexadecimal digits

  static join_token make(const authority& ca);
  // invalid_argument when it is no token; surrounding white space is ignored.
  static base::result<join_token> parse(std::string_view text);
  std::string text() const;
  // What to store: SHA-256 of the secret, 64 hexadecimal digits. The secret itself is kept nowhere.
  std::string secret_hash() const;
};

// The answering side, on the port of a listener (endpoint::listen).
struct enrolment {
  std::shared_ptr<authority> signer;
  std::string role = "node";  // of the certificates given out
  // Spends the token of that hash for that name and remembers the certificate (its fingerprint)
  // that goes with it, or says why not: unknown, expired and used tokens are unauthenticated, a
  // name that is taken is already_exists. Called on the endpoint's thread once the request is known
  // to be sound; answers `done` once, from any thread, at any time. The certificate leaves only
  // after a success.
  std::function<void(
      std::string secret_hash, std::string name, std::string fingerprint,
      std::function<void(base::result<>)> done)>
      redeem;
};

// For a listener that keeps no book: admits whoever brings `token`, once, as long as it listens.
// Nobody is revoked, and any number of names may exist. A second try is unauthenticated.
enrolment admit_once(std::shared_ptr<authority> signer, const join_token& token);

// The joining side. Blocks its caller, for at most `timeout`. Makes a key, and stores
// folder/NAME.pem (certificate and key, 0600) and folder/ca.pem, durably; the former last, so that
// it is there only when everything is. Overwrites those of an earlier join.
//   invalid_argument   the name, or the request was refused as malformed
//   permission_denied  this coordinator is not the one the token names
//   unauthenticated    the token is unknown, expired or used
//   already_exists     the coordinator knows another node of that name
//   unavailable, deadline_exceeded, version_mismatch, io ...
base::result<credentials> join(
    const std::string& host, std::uint16_t port, const join_token& token,
    const std::filesystem::path& folder, const std::string& name,
    std::chrono::milliseconds timeout = std::chrono::seconds{30});

// What an earlier join() left in that folder; not_found when there was none.
base::result<credentials> joined_before(
    const std::filesystem::path& folder, const std::string& name);

}  // namespace dlls::runtime::link

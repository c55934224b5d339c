// What a link may cost, and how long it may keep anybody waiting. Plain values, copied.
#pragma once
#include <chrono>
#include <cstddef>
#include <cstdint>

#include "base/limits.hpp"
#include "runtime/link/gate_rules.hpp"

namespace dlls::runtime::link {

struct options {
  // The message types that may cross, in both directions: without any, nothing does.
  gate_rules rules;

  // Only equal numbers link; ALPN carries it, as "dlls-link/N".
  std::uint32_t protocol_version = base::limits::protocol_version;

  // Kernel keepalive (tcp(7)): the first probe after `idle`, then `count` in all, `interval` apart.
  std::chrono::seconds keepalive_idle_dialing = base::limits::keepalive_node;
  std::chrono::seconds keepalive_idle_listening = base::limits::keepalive_coordinator;
  std::chrono::seconds keepalive_interval{15};
  int keepalive_count = 3;
  // How long sent bytes may stay unacknowledged (TCP_USER_TIMEOUT). Each write arms it, the next
  // frame that comes in disarms it: armed on an idle link, Linux would give up after one lost probe
  // instead of `keepalive_count`.
  std::chrono::milliseconds tcp_user_timeout = base::limits::tcp_user_timeout;

  // From the first byte (dialing: from the name lookup) to the end of CAF's own handshake.
  std::chrono::milliseconds handshake_timeout{10'000};
  // Unfinished handshakes that an endpoint holds at a time; a further one is closed at once.
  std::size_t handshakes_max = 64;
  // Of them, from one address: one silent peer must not keep the others out.
  std::size_t handshakes_per_address_max = 16;

  // The payload of one frame. Checked on arrival before a byte is allocated, and before sending: a
  // request of ours that is larger fails alone (caf::sec::invalid_argument), the link lives on.
  std::size_t frame_bytes_max = base::limits::frame_bytes_max;
  // What may wait here for a peer that doesn't read, or that grants its streams more than it takes;
  // more closes the link.
  std::size_t unsent_bytes_max = base::limits::unsent_bytes_max;
  // Remote actors that may write to us over one link at a time; each costs a proxy.
  std::size_t remote_actors_max = 4096;
  // Requests of ours that a peer may leave unanswered; one more closes the link and fails them all.
  std::size_t pending_requests_max = 65'536;
  // Requests of a peer that we have not answered; one more closes the link. Parts of streams that
  // it has granted and not got, over all of them; one more closes it too.
  std::size_t peer_requests_max = 65'536;
  std::size_t peer_credit_max = 4096;
};

}  // namespace dlls::runtime::link

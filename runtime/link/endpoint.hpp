// Links between actor systems: mutual TLS 1.3 beneath CAF's own protocol (BASP), behind a gate.
//
// BASP trusts whoever reaches its port. Here it never meets a network: TCP and TLS run on a thread
// of the endpoint; only a peer with a certificate of our authority, in the role asked for, gets as
// far as BASP, and there every frame passes a gate (gate_rules.hpp) that knows sizes, types, which
// local actors are exported and which requests are open. docs/decisions/0001-own-tls-transport.md
// says why, and what it costs.
//
//   listening side                          dialing side
//   listen() -> make_door() per peer        dial(): exports one local actor
//   the peer may write to its door only     the peer may write to that actor only
//
// Either side writes to an actor that wrote to it through current_sender(); no handle is ever part
// of a message. When a link is lost, the proxies of the peer go down at once (down_msg) and every
// open request fails with sec::request_receiver_down, as do those that come later.
#pragma once
#include <caf/actor_control_block.hpp>
#include <caf/fwd.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "base/error.hpp"
#include "runtime/link/connection.hpp"
#include "runtime/link/enrol.hpp"
#include "runtime/link/identity.hpp"
#include "runtime/link/options.hpp"

namespace dlls::runtime::link {

// Called on the endpoint's thread, one at a time; they must not block, and not throw.
struct acceptor_events {
  // Required. Spawns the one disposable actor that this peer may address; its interface is read
  // from the actor. Null refuses the peer ("unavailable"). The endpoint ends the door
  // (exit_reason::user_shutdown) after the connection has closed.
  std::function<caf::strong_actor_ptr(connection_ptr)> make_door;
  // Once per connection for which make_door gave a door. The reason names who closed, and why.
  std::function<void(connection_ptr, std::string reason)> closed;
  // Somebody was turned away before the first byte of CAF.
  std::function<void(std::string reason)> refused;
  // True for a certificate that is no longer welcome. Without it, none is revoked.
  std::function<bool(const peer_identity&, const std::string& fingerprint)> revoked;
};

// What a dialer gets. `remote_door` is a proxy for the peer's door.
struct linked {
  connection_ptr link;
  caf::strong_actor_ptr remote_door;
};

struct dial_request {
  std::string host = {};  // a name or an address; names are resolved on a thread of the endpoint
  std::uint16_t port = 0;
  credentials own = {};
  std::string want_role = {};  // the role that the peer's certificate must have: "coordinator"
  // The local actor that the peer may address: it must write first, so that the peer's door has
  // its proxy. May be null. Kept alive as long as the link.
  caf::strong_actor_ptr exported = {};
  // What the peer's door must offer, as actor_system::message_types gives it; empty: anything.
  std::set<std::string> expected_interface = {};
};

// Owns a thread, and a broker in `system`. Any thread may call it. Several endpoints in one system
// work, but a peer that links to two of them at once may be reached through either.
class endpoint {
 public:
  // `system` has the middleman loaded, on its default multiplexer, and outlives the endpoint. Takes
  // SpawnServ and ConfigServ (CAF's remote spawn and remote configuration) out of the registry.
  endpoint(caf::actor_system& system, options opts);
  // Closes every link and listener, reports each closed link, answers each open dial with
  // errc::cancelled (that one on the caller's thread), and returns when its thread has ended, which
  // a name lookup in progress holds up. Not from one of its own callbacks.
  ~endpoint();
  endpoint(const endpoint&) = delete;
  endpoint& operator=(const endpoint&) = delete;

  // Accepts peers whose certificate has `accept_role`. `address` is an IP address ("0.0.0.0",
  // "::", "127.0.0.1"); port 0 takes a free one; gives the port. With `enrolment`, the same port
  // answers requests to join. Errors: invalid_argument (address, certificate, key), not_found and
  // permission_denied (files), already_exists (the port is in use), io.
  // A later connection of the same certificate name replaces the earlier one, which is closed.
  base::result<std::uint16_t> listen(
      const std::string& address, std::uint16_t port, const credentials& own,
      const std::string& accept_role, acceptor_events events,
      std::optional<enrolment> enrolment = std::nullopt);

  // Returns at once. `done` is called exactly once, on the endpoint's thread; `on_closed` at most
  // once, after a successful `done`. Errors of `done`:
  //   invalid_argument   own certificate or key does not work (not_found: no such file)
  //   unavailable        name unknown, nobody listens, closed during the handshake, peer refuses
  //   deadline_exceeded  options.handshake_timeout passed
  //   unauthenticated    a certificate of another authority, on either side, or none
  //   permission_denied  wrong role, on either side; revoked
  //   version_mismatch   another protocol version (both are named), or another interface
  //   cancelled          the endpoint ended
  void dial(
      dial_request request, std::function<void(base::result<linked>)> done,
      std::function<void(std::string reason)> on_closed);

  // options.protocol_version: what every peer of every link speaks, since only equal ones link.
  std::uint32_t protocol_version() const noexcept;

 private:
  struct impl;
  std::unique_ptr<impl> impl_;
};

}  // namespace dlls::runtime::link

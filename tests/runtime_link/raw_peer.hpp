// A peer that speaks TLS and BASP by hand, so that it can say what CAF never would.
#pragma once
#include <netinet/in.h>

#include <caf/all.hpp>
#include <caf/io/basp/all.hpp>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "link_fixture.hpp"

namespace link_test {

using bytes = std::vector<char>;

struct raw_options {
  link::credentials own;  // no certificate: shows none
  std::string protocol = link_protocol;
  int tls_max = 0;                       // 0: the newest
  std::uint32_t from = INADDR_LOOPBACK;  // its own address
};

// Blocking, each operation for at most `patience`.
class raw_peer {
 public:
  raw_peer(std::uint16_t port, const raw_options& o);
  ~raw_peer();
  raw_peer(const raw_peer&) = delete;

  bool handshake_done() const { return handshake_done_; }
  void send(const bytes& data);
  void send_plain(const std::string& text);  // beneath TLS
  // False when the peer closed first.
  bool receive(char* into, std::size_t size);
  // Reads until the peer closes; false when it does not.
  bool is_closed_by_peer();

 private:
  struct tls;
  std::unique_ptr<tls> tls_;
  int socket_ = -1;
  bool handshake_done_ = false;
};

// What a coordinator says first: the welcome, and BASP's server handshake.
struct greeting {
  caf::node_id node;
  std::uint64_t door = 0;
};
// Nothing when the peer was not welcome.
std::optional<greeting> read_greeting(raw_peer& from, caf::actor_system& system);

// The next message of the peer to an actor of ours; its notices are skipped.
struct received {
  std::uint64_t id = 0;
  std::uint64_t source = 0;
  std::uint64_t destination = 0;
};
std::optional<received> read_message(raw_peer& from);

// One BASP frame.
template <class... Ts>
bytes frame(
    caf::actor_system& system, caf::io::basp::message_type operation, std::uint8_t flags,
    std::uint64_t data, std::uint64_t source, std::uint64_t destination, Ts... payload) {
  bytes made;
  caf::scoped_execution_unit unit{&system};
  caf::io::basp::header head{operation, flags, 0, data, source, destination};
  auto writer =
      caf::make_callback([&](caf::serializer& sink) -> caf::error { return sink(payload...); });
  caf::io::basp::instance::write(&unit, made, head, &writer);
  return made;
}

// A direct message with no stages, and one with the given message id.
bytes message_frame(
    caf::actor_system& system, std::uint64_t source, std::uint64_t destination,
    const caf::message& content, std::uint64_t id = 0, std::uint8_t flags = 0);
bytes client_handshake(caf::actor_system& system, const caf::node_id& as);
// A node id like those of other processes.
caf::node_id made_up_node(std::uint32_t process);

}  // namespace link_test

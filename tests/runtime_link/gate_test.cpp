// The gate on bytes alone: the dialing side's half, its bounds, and noise.
#include "runtime/link/detail/gate.hpp"

#include <catch2/catch.hpp>

#include "base/encoding.hpp"
#include "base/random.hpp"
#include "raw_peer.hpp"

using namespace link_test;
using Catch::Matchers::Contains;
using operation = caf::io::basp::message_type;
namespace detail = dlls::runtime::link::detail;

namespace {

constexpr std::uint64_t exported = 9;

struct guarded {
  explicit guarded(bool server, detail::gate_limits limits = {1u << 20, 100, 100})
      : gate(limits, allowed, server, system.node(), exported, [](const caf::node_id&) {
          return detail::gate::verdict{};
        }) {}

  // A whole frame, as CAF reads it: the header, then the payload.
  detail::gate::verdict incoming(const bytes& whole) {
    caf::scoped_execution_unit unit{&system};
    const auto all = std::as_bytes(std::span{whole});
    if (auto why = gate.incoming(&unit, all.first(detail::frame_header::bytes))) return why;
    if (all.size() == detail::frame_header::bytes) return std::nullopt;
    return gate.incoming(&unit, all.subspan(detail::frame_header::bytes));
  }
  detail::gate::verdict outgoing(const bytes& whole) {
    return gate.outgoing(detail::frame_header::read(
        std::as_bytes(std::span{whole}).first<detail::frame_header::bytes>()));
  }
  bytes server_handshake(const caf::node_id& node) {
    return frame(
        system, operation::server_handshake, 0, 4, 0, 0, node,
        std::vector<std::string>{"generic-caf-app"}, std::uint64_t{5},
        std::set<std::string>{"door"});
  }

  config settings;
  caf::actor_system system{settings};
  std::shared_ptr<const link::gate_rules::texts> allowed =
      std::make_shared<const link::gate_rules::texts>(test_options().rules.resolve(system));
  detail::gate gate;
};

}  // namespace

TEST_CASE("a dialer's gate takes one server handshake and no client's") {
  guarded g{false};
  const auto peer = made_up_node(1);
  CHECK(g.incoming(client_handshake(g.system, peer)));
  CHECK_FALSE(g.gate.is_bound());
  CHECK_FALSE(g.incoming(g.server_handshake(peer)));
  CHECK(g.gate.is_bound());
  CHECK(g.incoming(g.server_handshake(peer)));
}

TEST_CASE("a peer may watch the exported actor and those that wrote to it, and no other") {
  guarded g{false};
  const auto peer = made_up_node(1);
  REQUIRE_FALSE(g.incoming(g.server_handshake(peer)));
  const auto monitor = [&](std::uint64_t actor) {
    return frame(g.system, operation::monitor_message, 0, 0, 0, actor, peer, g.system.node());
  };
  CHECK_FALSE(g.incoming(monitor(exported)));
  CHECK(g.incoming(monitor(30)));
  CHECK_FALSE(
      g.outgoing(message_frame(g.system, 30, 5, caf::make_message(ping_atom::value, 1), 1)));
  CHECK_FALSE(g.incoming(monitor(30)));
  CHECK_FALSE(g.outgoing(
      frame(g.system, operation::down_message, 0, 0, 30, 0, g.system.node(), peer, caf::error{})));
  CHECK(g.incoming(monitor(30)));
}

TEST_CASE("open requests are bounded, and handed over once when the link ends") {
  guarded g{true, {1u << 20, 100, 3}};
  const auto request = [&](std::uint64_t id) {
    return message_frame(g.system, 30, 5, caf::make_message(ping_atom::value, 1), id);
  };
  for (std::uint64_t id = 1; id <= 3; ++id) CHECK_FALSE(g.outgoing(request(id)));
  CHECK_THAT(g.outgoing(request(4)).value(), Contains("without an answer"));
  CHECK(g.gate.take_open_requests().size() == 4);
  CHECK(g.gate.take_open_requests().empty());
}

TEST_CASE("noise never gets through a gate, and never harms it") {
  const std::uint64_t seed = base::secure_random_u64();
  INFO("seed " << seed);
  base::random_source chance{seed};
  guarded g{true};
  REQUIRE_FALSE(g.incoming(client_handshake(g.system, made_up_node(1))));
  const auto sound = message_frame(g.system, 7, exported, caf::make_message(ping_atom::value, 1));
  REQUIRE_FALSE(g.incoming(sound));
  for (int round = 0; round < 20'000; ++round) {
    auto made = sound;
    // The head's length field stays true, as CAF would only ever deliver that many bytes.
    const auto size = chance.below(80);
    made.resize(detail::frame_header::bytes + size);
    for (std::size_t i = detail::frame_header::bytes; i < made.size(); ++i)
      if (i >= sound.size() || chance.below(4) == 0) made[i] = static_cast<char>(chance());
    made[7] = static_cast<char>(size);
    // Whatever comes out as sound bears a listed signature.
    const auto verdict = g.incoming(made);
    const std::string text(made.begin(), made.end());
    if (!verdict && text.find("@<>+@atom+@i32") == text.npos &&
        text.find("@<>+chunk") == text.npos && text.find("@<>+@atom") == text.npos)
      FAIL("passed: " << base::to_hex(std::as_bytes(std::span{made})));
  }
}

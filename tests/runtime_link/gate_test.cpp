// The gate on bytes alone: the dialing side's half, its bounds, and noise.
#include "runtime/link/detail/gate.hpp"

#include <catch2/catch.hpp>

#include "base/encoding.hpp"
#include "base/random.hpp"
#include "raw_peer.hpp"
#include "runtime/link/detail/bulk_lane.hpp"
#include "runtime/link/detail/send_buffer.hpp"

using namespace link_test;
using Catch::Matchers::Contains;
using operation = caf::io::basp::message_type;
namespace detail = dlls::runtime::link::detail;

namespace {

constexpr std::uint64_t exported = 9;

struct guarded {
  explicit guarded(bool server, detail::gate_limits limits = {1u << 20, 100, 100, 100, 1000})
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
    const auto all = std::as_bytes(std::span{whole});
    return gate.outgoing(
        detail::frame_header::read(all.first<detail::frame_header::bytes>()),
        all.subspan(detail::frame_header::bytes));
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

TEST_CASE("a stream's parts leave its request open, its end closes it") {
  using dlls::runtime::detail::call_id, dlls::runtime::detail::call_kind;
  guarded g{true};
  REQUIRE_FALSE(g.incoming(client_handshake(g.system, made_up_node(1))));
  const call_id call{call_kind::stream, 0, 77};
  const auto answer = [&](const caf::message& content) {
    return message_frame(g.system, 5, 30, content, call.response().integer_value());
  };
  const auto a_part = caf::make_message(dlls::runtime::part<chunk>{chunk{3, "x"}});
  CHECK(g.incoming(answer(a_part)));
  const auto request = call.request().integer_value();
  CHECK_FALSE(
      g.outgoing(message_frame(g.system, 30, 5, caf::make_message(ping_atom::value, 1), request)));
  CHECK_FALSE(g.incoming(answer(a_part)));
  CHECK_FALSE(g.incoming(answer(a_part)));
  CHECK_FALSE(g.incoming(answer(caf::make_message())));
  CHECK_THAT(g.incoming(answer(a_part)).value(), Contains("no request of ours"));
  // A part is no answer to a plain request, and an unlisted one none at all.
  guarded plain{true};
  REQUIRE_FALSE(plain.incoming(client_handshake(plain.system, made_up_node(1))));
  CHECK_FALSE(plain.outgoing(
      message_frame(plain.system, 30, 5, caf::make_message(ping_atom::value, 1), 9)));
  const auto wrong = caf::make_message_id(9).response_id().integer_value();
  CHECK_THAT(
      plain.incoming(message_frame(plain.system, 5, 30, a_part, wrong)).value(),
      Contains("unlisted"));
}

TEST_CASE("a peer may cancel and grant, to the exported actor, and order nothing else") {
  using dlls::runtime::detail::call_id, dlls::runtime::detail::call_kind;
  const call_id order{call_kind::order, 0, 12};
  const auto says = [&](guarded& g, std::uint64_t to, const caf::message& content) {
    REQUIRE_FALSE(g.incoming(client_handshake(g.system, made_up_node(1))));
    return g.incoming(message_frame(g.system, 5, to, content, order.response().integer_value()));
  };
  {
    guarded g{true};
    CHECK_FALSE(says(g, exported, caf::make_message()));
    CHECK_FALSE(says(g, exported, caf::make_message(std::uint32_t{4})));
  }
  {
    guarded g{true};
    CHECK(says(g, 30, caf::make_message()));
  }
  {
    guarded g{true};
    CHECK(says(g, exported, caf::make_message(ping_atom::value, 1)));
  }
  // Neither about nobody's call, nor with what CAF would take for a message of its own streams.
  const auto strange = [](std::uint64_t data, std::uint64_t source) {
    guarded g{true};
    REQUIRE_FALSE(g.incoming(client_handshake(g.system, made_up_node(1))));
    return g.incoming(message_frame(g.system, source, exported, caf::make_message(), data));
  };
  const auto sound = order.response().integer_value();
  CHECK_FALSE(strange(sound, 5));
  CHECK(strange(sound, 0));
  CHECK(strange(call_id{call_kind::order, 0, 0}.response().integer_value(), 5));
  for (std::uint64_t category : {2u, 3u})
    CHECK(strange((sound & ~(std::uint64_t{3} << 60)) | category << 60, 5));
  CHECK(strange(sound | std::uint64_t{1} << 62, 5));
}

TEST_CASE("no signal comes from a peer: neither the clock's, nor an end's, nor a look's") {
  using dlls::runtime::detail::call_id, dlls::runtime::detail::call_kind;
  for (const std::uint64_t number : {std::uint64_t{0}, std::uint64_t{1}, call_id::number_max}) {
    guarded g{true};
    REQUIRE_FALSE(g.incoming(client_handshake(g.system, made_up_node(1))));
    const call_id signal{call_kind::signal, 0, number};
    CHECK(g.incoming(message_frame(
        g.system, 5, exported, caf::make_message(), signal.response().integer_value())));
  }
}

TEST_CASE("a peer may not grant more than a window, nor ask more than is answered") {
  using dlls::runtime::detail::call_id, dlls::runtime::detail::call_kind;
  const auto request = [](guarded& g, std::uint64_t number) {
    const call_id call{call_kind::stream, 0, number};
    return g.incoming(message_frame(
        g.system, 5, exported, caf::make_message(chunk{1, "1"}), call.request().integer_value()));
  };
  const auto grant = [](guarded& g, std::uint64_t number, std::uint32_t parts) {
    const call_id order{call_kind::order, 0, number};
    return g.incoming(message_frame(
        g.system, 5, exported, caf::make_message(parts), order.response().integer_value()));
  };
  const auto answer = [](guarded& g, std::uint64_t number, const caf::message& content) {
    const call_id call{call_kind::stream, 0, number};
    return g.outgoing(
        message_frame(g.system, exported, 5, content, call.response().integer_value()));
  };
  const auto a_part = caf::make_message(dlls::runtime::part<chunk>{chunk{3, "x"}});
  constexpr auto window = dlls::runtime::window_max;
  const auto open = [](guarded& g) {
    REQUIRE_FALSE(g.incoming(client_handshake(g.system, made_up_node(1))));
  };
  SECTION("over one stream") {
    guarded g{true};
    open(g);
    CHECK_FALSE(request(g, 1));
    CHECK_FALSE(grant(g, 1, window));
    for (int i = 0; i < 10; ++i) CHECK_FALSE(answer(g, 1, a_part));
    CHECK_FALSE(grant(g, 1, 10));
    CHECK_THAT(grant(g, 1, 1).value(), Contains("more parts granted"));
  }
  SECTION("over all streams") {
    guarded g{true};
    open(g);
    for (std::uint64_t n = 1; n <= 3; ++n) CHECK_FALSE(request(g, n));
    for (std::uint64_t n = 1; n <= 3; ++n) CHECK_FALSE(grant(g, n, window));
    CHECK_FALSE(answer(g, 3, caf::make_message()));  // its end gives back what it had
    CHECK_FALSE(request(g, 4));
    CHECK_FALSE(grant(g, 4, window));
    CHECK_FALSE(request(g, 5));
    CHECK_THAT(grant(g, 5, window).value(), Contains("more parts granted"));
  }
  SECTION("requests") {
    guarded g{true};
    open(g);
    CHECK_FALSE(request(g, 1));
    CHECK_THAT(request(g, 1).value(), Contains("under the number"));
    guarded many{true};
    open(many);
    for (std::uint64_t n = 1; n <= 100; ++n) CHECK_FALSE(request(many, n));
    CHECK_FALSE(answer(many, 50, caf::make_message()));
    CHECK_FALSE(request(many, 101));
    CHECK_THAT(request(many, 102).value(), Contains("requests at a time"));
  }
}

TEST_CASE("streams share the bulk lane in turn, each in its own order") {
  detail::bulk_lane lane;
  const auto header = [](std::uint64_t call) {
    using dlls::runtime::detail::call_id, dlls::runtime::detail::call_kind;
    detail::frame_header h;
    h.op = detail::operation::direct_message;
    h.source = 10 + call;
    h.destination = 3;
    h.data = call_id{call_kind::stream, 0, call}.response().integer_value();
    return h;
  };
  detail::frame_header down;
  down.op = detail::operation::down_message;
  down.source = 11;
  for (const char* text : {"a1", "a2", "a3"}) CHECK(lane.take(header(1), {text, 2}));
  CHECK(lane.take(header(2), {"b1", 2}));
  CHECK(lane.take(down, {"the end of the first", 20}));
  down.source = 13;
  CHECK_FALSE(lane.take(down, {"of somebody else", 16}));
  std::string order;
  while (auto frame = lane.pop()) order += std::string(frame->begin(), frame->end()) + " ";
  CHECK(order == "a1 b1 a2 a3 the end of the first ");
  CHECK(lane.bytes() == 0);
  CHECK(lane.empty());
}

TEST_CASE("the kernel's buffer follows the line") {
  using detail::send_buffer;
  CHECK(detail::fitting_send_buffer(0, 0) == send_buffer::bytes_min);
  CHECK(detail::fitting_send_buffer(2'500'000, 100) == send_buffer::bytes_min);
  CHECK(detail::fitting_send_buffer(2'500'000, 40'000) == 200'000);  // 20 Mbit/s, 40 ms
  CHECK(detail::fitting_send_buffer(~0ull, ~0u) > send_buffer::bytes_max);
}

TEST_CASE("open requests are bounded, and handed over once when the link ends") {
  guarded g{true, {1u << 20, 100, 3, 100, 1000}};
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

// A peer that wants more than it takes, or says things out of turn: it loses its own link at worst,
// and the others notice nothing.
#include <catch2/catch.hpp>

#include "raw_peer.hpp"
#include "runtime/co_actor.hpp"
#include "runtime/detail/call_id.hpp"
#include "runtime/stream.hpp"

using namespace link_test;
using Catch::Matchers::Contains;
using dlls::runtime::detail::call_id;
using dlls::runtime::detail::call_kind;
namespace rt = dlls::runtime;

namespace {

struct counts {
  std::atomic<int> yielded{0}, alive{0};
};

class streaming_door final : public rt::co_actor<stream_interface> {
 public:
  streaming_door(caf::actor_config& config, std::shared_ptr<counts> c)
      : co_actor(config), counts_(std::move(c)) {}
  behavior_type make_behavior() override {
    return {serve(&streaming_door::chunks), serve(&streaming_door::ping)};
  }

 private:
  struct presence {
    explicit presence(std::shared_ptr<counts> c) : of(std::move(c)) { ++of->alive; }
    presence(const presence&) = delete;
    ~presence() { --of->alive; }
    std::shared_ptr<counts> of;
  };
  rt::stream<chunk> chunks(chunk order) {
    const presence here{counts_};
    for (std::uint64_t i = 0; i < order.offset; ++i) {
      ++counts_->yielded;
      co_yield chunk{i, std::string(100, 'x')};
    }
  }
  int ping(ping_atom, int x) { return x; }
  std::shared_ptr<counts> counts_;
};

// Listens with a door of streams for everybody.
class listening {
 public:
  listening() : endpoint_(system, test_options()) {
    link::acceptor_events e;
    e.make_door = [this](link::connection_ptr) {
      return caf::actor_cast<caf::strong_actor_ptr>(system.spawn<streaming_door>(seen));
    };
    port = endpoint_.listen("127.0.0.1", 0, issued.of("coordinator", "c0"), "node", e).value();
  }
  std::shared_ptr<counts> seen = std::make_shared<counts>();
  certificates issued;
  config settings;
  caf::actor_system system{settings};
  std::uint16_t port = 0;

 private:
  link::endpoint endpoint_;
};

std::uint64_t call(call_kind kind, std::uint64_t time, std::uint64_t number) {
  return call_id{kind, time, number}.request().integer_value();
}
void append(bytes& to, const bytes& more) { to.insert(to.end(), more.begin(), more.end()); }

}  // namespace

TEST_CASE("a peer that asks and never reads loses its link before it fills the memory") {
  certificates issued;
  auto little = test_options();
  little.unsent_bytes_max = 32u << 20;
  coordinator_side coordinator{issued, little};
  config settings;
  caf::actor_system forge{settings};
  raw_peer peer{coordinator.port, {issued.of("node", "gpu0"), link_protocol, 0}};
  const auto said = read_greeting(peer, forge);
  REQUIRE(said);
  peer.send(client_handshake(forge, made_up_node(4711)));
  bytes all;
  for (std::uint64_t i = 1; i <= 200; ++i)  // answers of 200 MB
    append(
        all,
        message_frame(forge, 7, said->door, caf::make_message(large_atom::value, 1'000'000), i));
  peer.send(all);
  CHECK_THAT(coordinator.closed(1).at(0), Contains("takes nothing"));
}

TEST_CASE("streams that are opened and never granted anything end with their link") {
  listening on;
  config settings;
  caf::actor_system forge{settings};
  constexpr int streams = 5000;
  {
    raw_peer peer{on.port, {on.issued.of("node", "gpu0"), link_protocol, 0}};
    const auto said = read_greeting(peer, forge);
    REQUIRE(said);
    peer.send(client_handshake(forge, made_up_node(4711)));
    bytes all;
    for (std::uint64_t n = 1; n <= streams; ++n)
      append(
          all, message_frame(
                   forge, 7, said->door, caf::make_message(chunk{10, ""}),
                   call(call_kind::stream, 0, n)));
    append(all, message_frame(forge, 7, said->door, caf::make_message(ping_atom::value, 1), 1));
    peer.send(all);
    REQUIRE(read_message(peer));
    CHECK(on.seen->alive == streams);
  }
  const auto until = std::chrono::steady_clock::now() + patience;
  while (on.seen->alive > 0 && std::chrono::steady_clock::now() < until) std::this_thread::yield();
  CHECK(on.seen->alive == 0);
}

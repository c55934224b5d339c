// What travels between two systems beyond messages: streams and their credit, deadlines, the word
// that nobody waits any more. Real sockets and threads; order is made by flags, not by time.
#include <catch2/catch.hpp>

#include <atomic>

#include "raw_peer.hpp"
#include "runtime/ask.hpp"
#include "runtime/co_actor.hpp"
#include "runtime/sleep.hpp"
#include "runtime/stream.hpp"
#include "runtime/subscribe.hpp"
#include "runtime/time_left.hpp"

using namespace link_test;
namespace rt = dlls::runtime;

namespace {

// What the door has seen.
struct seen {
  std::atomic<int> yielded{0};
  std::atomic<int> alive{0};
  std::atomic<long> left_ms{-1};
  flag begun, destroyed;
};

struct guard {
  std::shared_ptr<seen> in;
  explicit guard(std::shared_ptr<seen> s) : in(std::move(s)) {
    ++in->alive;
    in->begun.raise();
  }
  ~guard() {
    --in->alive;
    in->destroyed.raise();
  }
};

class streaming_door final : public rt::co_actor<stream_interface> {
 public:
  streaming_door(caf::actor_config& config, std::shared_ptr<seen> s)
      : co_actor(config), seen_(std::move(s)) {}
  behavior_type make_behavior() override {
    return {serve(&streaming_door::chunks), serve(&streaming_door::hang)};
  }

 private:
  rt::stream<chunk> chunks(chunk order) {
    const guard g{seen_};
    const auto size = static_cast<std::size_t>(std::stoul(order.bytes));
    for (std::uint64_t i = 0; i < order.offset; ++i) {
      co_yield chunk{i, std::string(size, static_cast<char>('a' + i % 26))};
      ++seen_->yielded;
    }
  }
  rt::task<int> hang(ping_atom, int x) {
    if (const auto left = rt::time_left(this)) seen_->left_ms = *left / 1ms;
    const guard g{seen_};
    if (x > 0) co_await rt::sleep(this, 1h);
    co_return x;
  }
  std::shared_ptr<seen> seen_;
};

// Runs a coroutine against the door; ends, and with it its waits, when it is killed.
class visitor final : public rt::co_actor<caf::actor> {
 public:
  using body = std::function<rt::task<void>(visitor*, stream_interface)>;
  visitor(caf::actor_config& config, stream_interface to, body b)
      : co_actor(config), to_(std::move(to)), body_(std::move(b)) {}
  caf::behavior make_behavior() override {
    tasks().spawn(body_(this, to_));
    return {[](caf::unit_t) {}};
  }

 private:
  stream_interface to_;
  body body_;
};

class joined {
 public:
  joined() {
    port_ =
        listening_.listen("127.0.0.1", 0, from_.of("coordinator", "c0"), "node", events()).value();
    link::dial_request request;
    request.host = "127.0.0.1";
    request.port = port_;
    request.own = from_.of("node", "n0");
    request.want_role = "coordinator";
    std::promise<base::result<link::linked>> done;
    dialing_.dial(
        std::move(request), [&](base::result<link::linked> r) { done.set_value(std::move(r)); },
        nullptr);
    linked_ = done.get_future().get().value();
  }
  ~joined() {
    for (const auto& v : visitors_) caf::anon_send_exit(v, caf::exit_reason::kill);
  }
  caf::actor visit(visitor::body b) {
    auto v = dialing_system_.spawn<visitor>(
        caf::actor_cast<stream_interface>(linked_.remote_door), std::move(b));
    visitors_.push_back(v);
    return v;
  }
  void cut() { linked_.link->close("cut by the test"); }

  std::shared_ptr<seen> door_seen = std::make_shared<seen>();

 private:
  link::acceptor_events events() {
    link::acceptor_events e;
    e.make_door = [this](link::connection_ptr) {
      return caf::actor_cast<caf::strong_actor_ptr>(
          listening_system_.spawn<streaming_door>(door_seen));
    };
    return e;
  }

  certificates from_;
  config listening_settings_, dialing_settings_;
  caf::actor_system listening_system_{listening_settings_}, dialing_system_{dialing_settings_};
  link::endpoint listening_{listening_system_, test_options()};
  link::endpoint dialing_{dialing_system_, test_options()};
  std::uint16_t port_ = 0;
  link::linked linked_;
  std::vector<caf::actor> visitors_;
};

}  // namespace

TEST_CASE("a stream crosses a link whole, in order, within its window") {
  joined two;
  std::atomic<int> wrong{0}, got{0};
  flag done;
  two.visit([&](visitor* self, stream_interface to) -> rt::task<void> {
    auto chunks = rt::subscribe(self, to, patience, chunk{300, "65536"}, 4);
    for (std::uint64_t i = 0;; ++i) {
      auto one = co_await chunks.try_next();
      if (!one) ++wrong;
      if (!one || !*one) break;
      ++got;
      if ((*one)->offset != i || (*one)->bytes.size() != 65'536 ||
          (*one)->bytes.back() != static_cast<char>('a' + i % 26))
        ++wrong;
    }
    done.raise();
  });
  REQUIRE(done.wait());
  CHECK(wrong == 0);
  CHECK(got == 300);
  CHECK(two.door_seen->yielded == 300);
}

TEST_CASE("a subscriber that dies stops the producer on the other side") {
  joined two;
  flag some;
  auto v = two.visit([&](visitor* self, stream_interface to) -> rt::task<void> {
    auto chunks = rt::subscribe(self, to, patience, chunk{1'000'000'000, "1000"});
    for (int i = 0; i < 20; ++i) co_await chunks.next();
    some.raise();
    co_await rt::sleep(self, 1h);  // takes no more: the producer waits for credit
  });
  REQUIRE(some.wait());
  caf::anon_send_exit(v, caf::exit_reason::kill);
  REQUIRE(two.door_seen->destroyed.wait());
  CHECK(two.door_seen->alive == 0);
  CHECK(two.door_seen->yielded <= 20 + 2 * static_cast<int>(rt::default_window));
}

TEST_CASE("a lost link stops the producer, and fails the subscriber at once") {
  joined two;
  flag some, failed;
  std::atomic<int> code{0};
  two.visit([&](visitor* self, stream_interface to) -> rt::task<void> {
    auto chunks = rt::subscribe(self, to, 1h, chunk{1'000'000'000, "1000"});
    for (int i = 0;; ++i) {
      auto one = co_await chunks.try_next();
      if (i == 20) some.raise();
      if (one) continue;
      code = static_cast<int>(one.error().code);
      break;
    }
    failed.raise();
  });
  REQUIRE(some.wait());
  two.cut();
  REQUIRE(failed.wait());
  CHECK(code == static_cast<int>(base::errc::unavailable));
  REQUIRE(two.door_seen->destroyed.wait());
}

TEST_CASE("a part too large for the link ends the stream on both sides") {
  joined two;
  flag failed;
  std::string why;
  int after = 0;
  two.visit([&](visitor* self, stream_interface to) -> rt::task<void> {
    auto chunks = rt::subscribe(self, to, patience, chunk{10, "2000000"});
    auto one = co_await chunks.try_next();
    if (!one) why = one.error().text();
    // The link lives on, however many parts were under way.
    auto more = rt::subscribe(self, to, patience, chunk{5, "1000"});
    while (co_await more.next()) ++after;
    failed.raise();
    co_await rt::sleep(self, 1h);
  });
  REQUIRE(failed.wait());
  CHECK_THAT(why, Catch::Matchers::Contains("too large"));
  CHECK(after == 5);
  REQUIRE(two.door_seen->destroyed.wait());
}

TEST_CASE("a peer that subscribes and reads nothing is cut off") {
  using dlls::runtime::detail::call_id, dlls::runtime::detail::call_kind;
  certificates from;
  config settings;
  caf::actor_system system{settings};
  auto in = std::make_shared<seen>();
  auto limits = test_options();
  limits.unsent_bytes_max = 4u << 20;
  link::endpoint listening{system, limits};
  link::acceptor_events events;
  events.make_door = [&](link::connection_ptr) {
    return caf::actor_cast<caf::strong_actor_ptr>(system.spawn<streaming_door>(in));
  };
  std::string why;
  flag closed;
  events.closed = [&](link::connection_ptr, std::string reason) {
    why = std::move(reason);
    closed.raise();
  };
  const auto port =
      listening.listen("127.0.0.1", 0, from.of("coordinator", "c0"), "node", std::move(events));
  raw_peer peer{port.value(), {from.of("node", "n0"), link_protocol, 0}};
  const auto door = read_greeting(peer, system).value().door;
  peer.send(client_handshake(system, made_up_node(1)));
  const call_id call{call_kind::stream, 0, 5}, order{call_kind::order, 0, 5};
  peer.send(message_frame(
      system, 7, door, caf::make_message(chunk{1'000'000'000, "65536"}),
      call.request().integer_value()));
  peer.send(message_frame(
      system, 7, door, caf::make_message(dlls::runtime::window_max),
      order.response().integer_value()));
  REQUIRE(closed.wait());
  CHECK_THAT(why, Catch::Matchers::Contains("takes nothing"));
  REQUIRE(in->destroyed.wait());
  CHECK(in->yielded <= static_cast<int>(dlls::runtime::window_max));
}

TEST_CASE("cancelling an ask ends the work on the other machine") {
  joined two;
  auto v = two.visit([&](visitor* self, stream_interface to) -> rt::task<void> {
    co_await rt::ask(self, to, 30min, ping_atom::value, 1);
  });
  REQUIRE(two.door_seen->begun.wait());
  CHECK(two.door_seen->alive == 1);
  CHECK(two.door_seen->left_ms <= 30 * 60 * 1000);  // the deadline has travelled
  CHECK(two.door_seen->left_ms > 29 * 60 * 1000);
  caf::anon_send_exit(v, caf::exit_reason::kill);
  REQUIRE(two.door_seen->destroyed.wait());
  CHECK(two.door_seen->alive == 0);
}

TEST_CASE("an ask that runs out of time ends the work on the other machine") {
  joined two;
  flag late;
  two.visit([&](visitor* self, stream_interface to) -> rt::task<void> {
    auto answer = co_await rt::try_ask(self, to, 50ms, ping_atom::value, 1);
    if (!answer && answer.error().code == base::errc::deadline_exceeded) late.raise();
    co_await rt::sleep(self, 1h);
  });
  REQUIRE(late.wait());
  REQUIRE(two.door_seen->destroyed.wait());
}

TEST_CASE("a lost link ends the work that the other side asked for") {
  joined two;
  two.visit([&](visitor* self, stream_interface to) -> rt::task<void> {
    (void)co_await rt::try_ask(self, to, 1h, ping_atom::value, 1);
  });
  REQUIRE(two.door_seen->begun.wait());
  two.cut();
  REQUIRE(two.door_seen->destroyed.wait());
}

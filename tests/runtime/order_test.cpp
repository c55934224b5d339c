// Orders are what an asker says to its callee of a call that runs. Whoever forges them, from
// another machine say, must harm nobody but itself.
#include <catch2/catch.hpp>

#include <caf/actor_cast.hpp>
#include <limits>

#include "runtime/detail/call_id.hpp"
#include "runtime/stream.hpp"
#include "tests/runtime/messages.hpp"

using namespace dlls;
using namespace dlls::tests;

namespace {

using rt::detail::call_id;
using rt::detail::call_kind;

class served final : public rt::co_actor<caf::actor> {
 public:
  served(caf::actor_config& config, int* yielded, int* done)
      : co_actor(config), yielded_(yielded), done_(done) {}
  caf::behavior make_behavior() override { return {serve(&served::count), serve(&served::work)}; }

 private:
  rt::stream<int> count(int most) {
    for (int i = 0; i < most; ++i) {
      ++*yielded_;
      co_yield i;
    }
  }
  rt::task<void> work(std::string) {
    co_await rt::sleep(this, 1s);
    ++*done_;
  }
  int* yielded_;
  int* done_;
};

template <class... Ts>
void say(const caf::actor& to, caf::strong_actor_ptr from, caf::message_id id, Ts... content) {
  caf::actor_cast<caf::strong_actor_ptr>(to)->enqueue(
      caf::make_mailbox_element(std::move(from), id, {}, std::move(content)...), nullptr);
}

caf::message_id order(std::uint64_t number) {
  return call_id{call_kind::order, 0, number}.response();
}

}  // namespace

TEST_CASE("an order about no call cancels nothing that was merely sent") {
  virtual_system world;
  int yielded = 0, done = 0;
  const auto to = world.spawn<served>(&yielded, &done);
  caf::anon_send(to, std::string("work"));
  world.run();
  caf::actor_cast<caf::strong_actor_ptr>(to)->enqueue(
      caf::make_mailbox_element(nullptr, order(0), {}, caf::make_message()), nullptr);
  world.advance(2s);
  CHECK(done == 1);
}

TEST_CASE("who grants more than a window has loses its stream, and only that") {
  virtual_system world;
  int yielded = 0, done = 0;
  const auto to = world.spawn<served>(&yielded, &done);
  const auto greedy =
      world.spawn<runner>([](runner* self) -> rt::task<void> { co_await rt::sleep(self, 1h); });
  const auto from = caf::actor_cast<caf::strong_actor_ptr>(greedy);
  constexpr int endless = std::numeric_limits<int>::max();
  say(to, from, call_id{call_kind::stream, 0, 1000}.request(), endless);
  say(to, from, call_id{call_kind::stream, 0, 1001}.request(), endless);
  world.run();
  say(to, from, order(1001), rt::window_max);
  world.run();
  CHECK(yielded == 2 + static_cast<int>(rt::window_max));
  say(to, from, order(1000), std::numeric_limits<std::uint32_t>::max());
  for (int i = 0; i < 3; ++i) say(to, from, order(1000), rt::window_max);
  world.run();
  CHECK(yielded == 2 + static_cast<int>(rt::window_max));
  say(to, from, order(1001), std::uint32_t{5});  // the other goes on
  world.run();
  CHECK(yielded == 7 + static_cast<int>(rt::window_max));
}

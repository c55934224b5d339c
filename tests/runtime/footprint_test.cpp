// What a suspended task holds on the heap, beyond its own locals.
//
// Measured: the bytes that the heap gives out for 10,000 more tasks of one kind, after 10,000 of
// the kind are suspended already (they take what was recycled from before, and make the containers
// large: what is measured pays for their doubling). Divided by the tasks. That counts everything:
// the frame with its promise and the wait in it, the scope's or the handler's entry, the slot, the
// deadline, and malloc's rounding and header. Subtracted: the sizes of the coroutine's parameters,
// and of the variables and temporaries that live across the wait (the time and the message of an
// ask, the result that a try_ask gives), `locals` below, and nothing else.
//
// The bound of 300 bytes holds for a task that sleeps or asks. Two have bounds of their own, so
// that they don't grow unnoticed: a handler holds what it owes to its asker; a completion shares a
// state with its resolvers.
#include <fmt/core.h>

#include <array>
#include <catch2/catch.hpp>

#include "tests/runtime/messages.hpp"
#include "tests/support/heap_count.hpp"

using namespace dlls;
using namespace dlls::tests;

namespace {

using echo = caf::typed_actor<caf::replies_to<int>::with<int>>;
constexpr int batch = 10'000;

// Takes requests, answers never, and keeps nothing of them.
class silent : public caf::event_based_actor {
 public:
  using event_based_actor::event_based_actor;
  caf::behavior make_behavior() override {
    return {[](int) -> caf::result<int> { return caf::delegated<int>{}; }};
  }
};

rt::task<void> sleeper(runner* self) { co_await rt::sleep(self, 1h); }

using ballast = std::array<char, 256>;
rt::task<void> laden_sleeper(runner* self, ballast load) {
  co_await rt::sleep(self, 1h);
  if (load[0] != 'x') std::abort();
}

rt::task<void> asker(runner* self, const echo* to) { co_await rt::ask(self, *to, 1h, 1); }
rt::task<void> trying_asker(runner* self, const echo* to) {
  co_await rt::try_ask(self, *to, 1h, 1);
}
rt::task<int> asks_for_int(runner* self, const echo* to) {
  co_return co_await rt::ask(self, *to, 1h, 1);
}
rt::task<void> outer(runner* self, const echo* to) { co_await asks_for_int(self, to); }

using resolvers = std::vector<rt::resolver<void>>;
rt::task<void> completer(runner* self, resolvers* kept) {
  auto start = [kept](rt::resolver<void> done) { kept->push_back(std::move(done)); };
  co_await rt::completion<void>(self, start);
}

// Suspends in each of its handlers.
class sleepy : public rt::co_actor<echo> {
 public:
  using co_actor::co_actor;
  behavior_type make_behavior() override { return {serve(&sleepy::answer)}; }

 private:
  rt::task<int> answer(int x) {
    co_await rt::sleep(this, 1h);
    co_return x;
  }
};

// Every world stays until the end, so that no kind is given the frames of the one before.
class worlds {
 public:
  // Spawns tasks of one actor; bytes beyond `locals` for each of `tasks` tasks in a chain.
  double spawned(
      const char* what, std::size_t locals,
      std::function<rt::task<void>(runner*, const echo*)> make, int tasks = 1) {
    auto& world = *worlds_.emplace_back(std::make_unique<virtual_system>());
    callees_.push_back(std::make_unique<echo>(
        caf::actor_cast<echo>(caf::actor_cast<caf::strong_actor_ptr>(world.spawn<silent>()))));
    const auto* to = callees_.back().get();
    runner* actor = nullptr;
    world.spawn<runner>([&actor](runner* self) -> rt::task<void> {
      actor = self;
      co_await rt::sleep(self, 2h);
    });
    world.run();
    return measured(what, locals, tasks, [&] {
      for (int i = 0; i < batch; ++i) actor->tasks().spawn(make(actor, to));
      caf::anon_send(actor, caf::unit);  // a turn, on which they start
      world.run();
    });
  }
  double handlers(const char* what, std::size_t locals) {
    auto& world = *worlds_.emplace_back(std::make_unique<virtual_system>());
    auto callee = world.spawn<sleepy>();
    return measured(what, locals, 1, [&] {
      for (int i = 0; i < batch; ++i) caf::anon_send(callee, i);
      world.run();
    });
  }

 private:
  template <class Fill>
  double measured(const char* what, std::size_t locals, int tasks, Fill fill) {
    fill();
    const auto frames = rt::live_frames();
    const auto before = heap_bytes();
    fill();
    const auto bytes = static_cast<double>(heap_bytes() - before) / batch;
    CHECK(rt::live_frames() - frames == batch * tasks);
    const double each = bytes / tasks - static_cast<double>(locals);
    fmt::print("a suspended task, {:34} {:4.0f} bytes beyond {} of locals\n", what, each, locals);
    return each;
  }

  std::vector<std::unique_ptr<virtual_system>> worlds_;
  std::vector<std::unique_ptr<echo>> callees_;
};

}  // namespace

TEST_CASE("a suspended task costs at most 300 bytes beyond its own locals") {
  constexpr auto pointer = sizeof(void*);
  constexpr auto temporaries = sizeof(std::chrono::hours) + sizeof(int);
  resolvers kept;
  kept.reserve(2 * batch);
  const auto sleeps = [](runner* self, const echo*) { return sleeper(self); };
  const auto sleeps_laden = [](runner* self, const echo*) {
    ballast load;
    load.fill('x');
    return laden_sleeper(self, load);
  };
  const auto completes = [&kept](runner* self, const echo*) { return completer(self, &kept); };
  const auto result = sizeof(base::result<int>);
  worlds all;
  const auto expect = [](double bytes, double most) {
    if (!sanitized) CHECK(bytes <= most);  // a sanitizer's allocator rounds up by far more
  };
  expect(all.spawned("sleeping", pointer, sleeps), 300);
  expect(all.spawned("sleeping with 256 bytes", pointer + sizeof(ballast), sleeps_laden), 300);
  expect(all.spawned("in an ask two deep, each", 2 * pointer, outer, 2), 300);
  expect(all.spawned("in an ask", 2 * pointer + temporaries, asker), 300);
  expect(all.spawned("in a try_ask", 2 * pointer + temporaries + result, trying_asker), 300);
  // Its result, which may be an error, stands in the frame and in the state that resolvers share.
  expect(all.spawned("in a completion", 3 * pointer, completes), 520);
  expect(all.handlers("a handler that sleeps", pointer + sizeof(int)), 450);
}

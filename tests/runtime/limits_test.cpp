// How much of everything: a hundred thousand asks that end at once, a million awaits in a row.
#include <fmt/core.h>

#include <catch2/catch.hpp>
#include <ctime>

#include "runtime/detail/frames.hpp"
#include "tests/runtime/messages.hpp"

using namespace dlls;
using namespace dlls::tests;

namespace {

using echo = caf::typed_actor<caf::replies_to<int>::with<int>>;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool instrumented = true;
#else
constexpr bool instrumented = false;
#endif
#if defined(__OPTIMIZE__)
constexpr bool optimised = !instrumented;
#else
constexpr bool optimised = false;
#endif

// --- ends --------------------------------------------------------------------------------------

// Takes requests, answers never, and keeps nothing of them.
class silent : public caf::event_based_actor {
 public:
  using event_based_actor::event_based_actor;
  caf::behavior make_behavior() override {
    return {[](int) -> caf::result<int> { return caf::delegated<int>{}; }};
  }
};

// Each of its handlers waits in an ask of its own.
class between : public rt::co_actor<echo> {
 public:
  between(caf::actor_config& config, caf::actor to) : co_actor(config), to_(std::move(to)) {}
  behavior_type make_behavior() override { return {serve(&between::pass_on)}; }

 private:
  rt::task<int> pass_on(int x) { co_return co_await rt::ask<int>(this, to_, 1h, x); }
  caf::actor to_;
};

rt::task<void> one_ask(runner* self, echo to, int* answered) {
  auto r = co_await rt::try_ask(self, to, 2h, 1);
  *answered += !r && r.error().code == base::errc::unavailable;
}

// Runs `many` asks side by side.
runner::body asks(echo to, int many, int* answered) {
  return [=](runner* self) -> rt::task<void> {
    for (int i = 0; i < many; ++i) self->tasks().spawn(one_ask(self, to, answered));
    co_return;
  };
}

// Of this thread, so that what else the machine does counts little.
double processor_ms() {
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) * 1e3 + static_cast<double>(t.tv_nsec) / 1e6;
}

template <class Function>
double timed_ms(const char* what, Function function) {
  const auto began = std::chrono::steady_clock::now();
  const auto processor = processor_ms();
  function();
  const auto took = processor_ms() - processor;
  const std::chrono::duration<double, std::milli> wall = std::chrono::steady_clock::now() - began;
  fmt::print("{}: {:.0f} ms of processor, {:.0f} ms by the wall\n", what, took, wall.count());
  return took;
}

constexpr int many = 100'000;
constexpr double end_ms_max = 250;

}  // namespace

TEST_CASE("an actor with 100,000 pending asks is killed, and all of its askers answered, at once") {
  const auto frames = rt::live_frames();
  virtual_system world;
  int answered = 0;
  auto end = world.spawn<silent>();
  auto middle = world.spawn<between>(end);
  world.spawn<runner>(asks(middle, many, &answered));
  world.run();
  REQUIRE(rt::live_frames() == frames + 2 * many);
  const auto took = timed_ms("100,000 handlers in an ask, killed", [&] {
    world.kill(middle);
    world.run();
  });
  CHECK(answered == many);
  CHECK(rt::live_frames() == frames);
  if (optimised) CHECK(took < end_ms_max);
}

TEST_CASE("an actor with 100,000 tasks that ask is killed at once") {
  const auto frames = rt::live_frames();
  virtual_system world;
  int answered = 0;
  auto end = world.spawn<silent>();
  auto to = caf::actor_cast<echo>(caf::actor_cast<caf::strong_actor_ptr>(end));
  auto asker = world.spawn<runner>(asks(to, many, &answered));
  world.run();
  REQUIRE(rt::live_frames() == frames + many);
  const auto took = timed_ms("100,000 tasks in an ask, killed", [&] {
    world.kill(asker);
    world.run();
  });
  CHECK(answered == 0);
  CHECK(rt::live_frames() == frames);
  if (optimised) CHECK(took < end_ms_max);
}

TEST_CASE("when the callee of 100,000 asks dies, all of them fail at once") {
  const auto frames = rt::live_frames();
  virtual_system world;
  int answered = 0;
  auto end = world.spawn<silent>();
  auto to = caf::actor_cast<echo>(caf::actor_cast<caf::strong_actor_ptr>(end));
  world.spawn<runner>(asks(to, many, &answered));
  world.run();
  REQUIRE(rt::live_frames() == frames + many);
  const auto took = timed_ms("100,000 asks of an actor that is killed", [&] {
    world.kill(end);
    world.run();
  });
  CHECK(answered == many);
  CHECK(rt::live_frames() == frames);
  if (optimised) CHECK(took < end_ms_max);
}

// --- chains ------------------------------------------------------------------------------------

namespace {

// GCC turns the transfer from one coroutine to the next into a jump when it optimises. At -O0 and
// with a sanitizer it is a call, and awaits that finish without waiting pile up on the stack until
// something suspends. Destroying a chain that is suspended recurses in every build: a frame
// destroys the task it awaits. Measured on a stack of 8 MiB, the default of threads here too:
//
//                                   -O2, -O3    -O0       ASan and UBSan   TSan
//   finished tasks awaited in a row  no end      65,000    7,500            32,000
//   depth of a chain, finished       no end      65,000    5,400            40,000
//   depth of a chain, destroyed      173,000     40,000    10,000           40,000
//
// What task.hpp promises is at most half of that, so that the caller's own stack has room.
constexpr int awaits_max = optimised ? 1'000'000 : instrumented ? 2'500 : 20'000;
constexpr int destroyed_depth_max = optimised ? 80'000 : instrumented ? 2'500 : 20'000;

rt::task<int> ready(int x) { co_return x; }

rt::task<int> add_ready(int many_awaits) {
  int sum = 0;
  for (int i = 0; i < many_awaits; ++i) sum += co_await ready(1);
  co_return sum;
}

rt::task<int> deep(int depth) {
  if (depth == 0) co_return 0;
  co_return 1 + co_await deep(depth - 1);
}

// Its innermost task waits, so that the chain stands suspended.
rt::task<int> deep_wait(runner* self, int depth) {
  if (depth > 0) co_return 1 + co_await deep_wait(self, depth - 1);
  co_await rt::sleep(self, 1s);
  co_return 0;
}

rt::task<int> deep_throw(runner* self, int depth) {
  if (depth > 0) co_return 1 + co_await deep_throw(self, depth - 1);
  co_await rt::sleep(self, 1s);
  throw base::failure({base::errc::stale, "from the deep"});
}

rt::task<void> store(rt::task<int> what, int* result) { *result = co_await std::move(what); }

}  // namespace

TEST_CASE("awaiting tasks that finish at once, one after the other, does not use up the stack") {
  virtual_system world;
  int result = 0;
  world.spawn<runner>([&](runner*) { return store(add_ready(awaits_max), &result); });
  world.run();
  CHECK(result == awaits_max);
}

TEST_CASE("a deep chain of tasks is begun and finished without using up the stack") {
  virtual_system world;
  int at_once = 0, after_a_wait = 0;
  world.spawn<runner>([&](runner*) { return store(deep(awaits_max), &at_once); });
  world.spawn<runner>([&](runner* s) { return store(deep_wait(s, awaits_max), &after_a_wait); });
  world.run();
  CHECK(at_once == awaits_max);
  CHECK(after_a_wait == 0);
  world.advance(2s);
  CHECK(after_a_wait == awaits_max);
}

TEST_CASE("an exception travels up a deep chain") {
  constexpr int depth = std::min(awaits_max, 10'000);  // each level throws it again
  virtual_system world;
  int result = 0;
  bool caught = false;
  world.spawn<runner>([&](runner* s) {
    return [](runner* self, int* r, bool* c) -> rt::task<void> {
      try {
        *r = co_await deep_throw(self, depth);
      } catch (const base::failure& f) {
        *c = f.why().code == base::errc::stale;
      }
    }(s, &result, &caught);
  });
  world.advance(2s);
  CHECK(caught);
}

TEST_CASE("a deep chain of suspended tasks is destroyed without using up the stack") {
  const auto frames = rt::live_frames();
  virtual_system world;
  int result = 0;
  auto r = world.spawn<runner>(
      [&](runner* s) { return store(deep_wait(s, destroyed_depth_max), &result); });
  world.run();
  CHECK(rt::live_frames() == frames + destroyed_depth_max + 2);
  world.kill(r);
  world.run();
  CHECK(rt::live_frames() == frames);
  CHECK(result == 0);
}

#include "runtime/race.hpp"

#include <catch2/catch.hpp>

#include "runtime/detail/frames.hpp"
#include "runtime/timeout.hpp"
#include "tests/runtime/later.hpp"
#include "tests/runtime/messages.hpp"

using namespace dlls;
using namespace dlls::tests;

namespace {

rt::task<void> idle(runner* self, int ms) {
  co_await rt::sleep(self, std::chrono::milliseconds{ms});
}

}  // namespace

TEST_CASE("the first to end wins a race, and the others are gone before the winner is seen") {
  const auto frames = rt::live_frames();
  virtual_system world;
  log_t log;
  world.spawn<runner>([&](runner* self) -> rt::task<void> {
    auto won =
        co_await rt::race(later(self, 1, 300, &log), idle(self, 200), later(self, 3, 100, &log));
    static_assert(std::is_same_v<decltype(won), std::variant<int, std::monostate, int>>);
    log.push_back(std::to_string(won.index()) + " at " + std::to_string(world.elapsed().count()));
    CHECK(std::get<2>(won) == 3);
    std::vector<rt::task<int>> many;
    for (int i = 0; i < 4; ++i) many.push_back(later(self, 10 + i, 100 * (4 - i), &log));
    const auto [index, value] = co_await rt::race(std::move(many));
    CHECK(index == 3);
    CHECK(value == 13);
    std::vector<rt::task<void>> plain;
    plain.push_back(idle(self, 20));
    plain.push_back(idle(self, 10));
    const auto first = co_await rt::race(std::move(plain));
    CHECK(first.index == 1);
  });
  world.advance(1s);
  CHECK(log == log_t{"cancelled 1", "2 at 100", "cancelled 10", "cancelled 11", "cancelled 12"});
  CHECK(rt::live_frames() == frames);
}

TEST_CASE("a failure wins a race too, and is rethrown") {
  virtual_system world;
  log_t log;
  world.spawn<runner>([&](runner* self) -> rt::task<void> {
    try {
      co_await rt::race(later(self, 1, 300, &log), later(self, -1, 100, &log));
    } catch (const base::failure& f) {
      log.push_back(f.what());
    }
    // The loser's failure is nobody's.
    auto won = co_await rt::race(later(self, 2, 100, &log), later(self, -2, 200, &log));
    CHECK(std::get<0>(won) == 2);
  });
  world.advance(1s);
  REQUIRE(log.size() == 3);
  CHECK(log[0] == "cancelled 1");
  CHECK_THAT(log[1], Catch::Contains("negative"));
  CHECK(log[2] == "cancelled -2");
}

TEST_CASE("of those that end on the same turn the first in order wins") {
  virtual_system world;
  world.spawn<runner>([&](runner* self) -> rt::task<void> {
    log_t log;
    auto won = co_await rt::race(later(self, 1, 0, &log), later(self, 2, 0, &log));
    CHECK(won.index() == 0);
    auto slept = co_await rt::race(idle(self, 100), later(self, 2, 100, &log));
    CHECK(slept.index() == 0);
  });
  world.advance(1s);
}

TEST_CASE("a race goes with the actor that waits for it") {
  const auto frames = rt::live_frames();
  virtual_system world;
  log_t log;
  auto actor = world.spawn<runner>([&](runner* self) -> rt::task<void> {
    co_await rt::race(later(self, 1, 300, &log), later(self, 2, 200, &log));
    log.push_back("never");
  });
  world.advance(50ms);
  world.kill(actor);
  world.advance(1s);
  CHECK(log.size() == 2);
  CHECK(rt::live_frames() == frames);
}

TEST_CASE("a task that takes too long is cancelled, and its time is the outcome") {
  const auto frames = rt::live_frames();
  virtual_system world;
  log_t log;
  world.spawn<runner>([&](runner* self) -> rt::task<void> {
    const int in_time = co_await rt::timeout(self, 200ms, later(self, 1, 100, &log));
    CHECK(in_time == 1);
    co_await rt::timeout(self, 200ms, idle(self, 100));
    try {
      co_await rt::timeout(self, 50ms, later(self, 2, 100, &log));
      log.push_back("no exception");
    } catch (const base::failure& f) {
      CHECK(f.why().code == base::errc::deadline_exceeded);
      log.push_back("late at " + std::to_string(world.elapsed().count()));
    }
    auto late = co_await rt::try_timeout(self, 50ms, later(self, 3, 100, &log));
    CHECK(late.error().code == base::errc::deadline_exceeded);
    auto broken = co_await rt::try_timeout(self, 50ms, later(self, -1, 10, &log));
    CHECK(broken.error().code == base::errc::corrupt);
    auto good = co_await rt::try_timeout(self, 50ms, later(self, 4, 10, &log));
    CHECK(good.value() == 4);
    auto nothing = co_await rt::try_timeout(self, 50ms, idle(self, 10));
    CHECK(nothing.has_value());
    auto never = co_await rt::try_timeout(self, 0ms, later(self, 5, 0, &log));
    CHECK(never.error().code == base::errc::deadline_exceeded);
    log.push_back("end");
  });
  world.advance(2s);
  CHECK(log == log_t{"cancelled 2", "late at 250", "cancelled 3", "end"});
  CHECK(rt::live_frames() == frames);
}

#include <catch2/catch.hpp>

#include "runtime/detail/frames.hpp"
#include "tests/runtime/later.hpp"
#include "tests/runtime/messages.hpp"

using namespace dlls;
using namespace dlls::tests;

namespace {

rt::task<void> note_later(runner* self, int value, int ms, log_t* log) {
  log->push_back("got " + std::to_string(co_await later(self, value, ms, log)));
}

}  // namespace

TEST_CASE("gather runs tasks side by side and gives their results in order") {
  virtual_system world;
  log_t log;
  world.spawn<runner>([&](runner* self) -> rt::task<void> {
    auto [a, nothing, b] = co_await rt::gather(
        later(self, 1, 300, &log), note_later(self, 9, 100, &log), later(self, 2, 200, &log));
    static_assert(std::is_same_v<decltype(nothing), std::monostate>);
    log.push_back(std::to_string(a * 10 + b) + " at " + std::to_string(world.elapsed().count()));
    std::vector<rt::task<int>> many;
    for (int i = 0; i < 5; ++i) many.push_back(later(self, i, 50 * (5 - i), &log));
    int sum = 0;
    for (int x : co_await rt::gather(std::move(many))) sum = sum * 10 + x;
    log.push_back(std::to_string(sum));
    CHECK((co_await rt::gather(std::vector<rt::task<int>>{})).empty());
  });
  world.advance(2s);
  CHECK(log == log_t{"got 9", "12 at 300", "1234"});
}

TEST_CASE("the first failure in a gather cancels the others at once and is rethrown") {
  const auto frames = rt::live_frames();
  virtual_system world;
  log_t log;
  world.spawn<runner>([&](runner* self) -> rt::task<void> {
    try {
      co_await rt::gather(
          later(self, 1, 60'000, &log), later(self, -1, 100, &log), later(self, 2, 100, &log));
    } catch (const base::failure& f) {
      log.push_back(f.why().message + " at " + std::to_string(world.elapsed().count()));
    }
    CHECK(self->core().pending() == 0);  // the losers' sleeps are unregistered
  });
  world.advance(2s);
  REQUIRE(log.size() == 3);
  CHECK(log.back() == "negative at 100");
  CHECK(rt::live_frames() == frames);
}

TEST_CASE("gather takes asks as they are") {
  virtual_system world;
  auto p = world.spawn<porter>();
  std::string text;
  world.spawn<runner>([&](runner* self) -> rt::task<void> {
    auto [a, b] = co_await rt::gather(
        rt::ask(self, p, 5s, hello{"a", 20}), rt::try_ask(self, p, 10ms, hello{"b", 20}));
    text = a.text + " " + std::string{name(b.error().code)};
  });
  world.advance(1s);
  CHECK(text == "hello a deadline_exceeded");
}

TEST_CASE("joining a scope waits for every child") {
  virtual_system world;
  log_t log;
  world.spawn<runner>([&](runner* self) -> rt::task<void> {
    rt::scope s{self};
    for (int i = 1; i <= 3; ++i) s.spawn(note_later(self, i, 100 * i, &log));
    CHECK(s.size() == 3);
    co_await s.join();
    log.push_back("joined at " + std::to_string(world.elapsed().count()));
    co_await s.join();
  });
  world.advance(1s);
  CHECK(log == log_t{"got 1", "got 2", "got 3", "joined at 300"});
}

TEST_CASE("a child's failure cancels its siblings and join rethrows it") {
  virtual_system world;
  log_t log;
  world.spawn<runner>([&](runner* self) -> rt::task<void> {
    rt::scope s{self};
    s.spawn(note_later(self, 1, 10'000, &log));
    s.spawn(note_later(self, -1, 100, &log));
    CHECK_THROWS_AS(co_await s.join(), base::failure);
    CHECK(s.closed());
    CHECK_FALSE(s.spawn(note_later(self, 2, 1, &log)));
  });
  world.advance(1s);
  CHECK(log == log_t{"cancelled 1"});
}

TEST_CASE("closing a scope cancels its children before the await goes on") {
  virtual_system world;
  log_t log;
  world.spawn<runner>([&](runner* self) -> rt::task<void> {
    rt::scope s{self};
    s.spawn(note_later(self, 1, 10'000, &log));
    co_await rt::sleep(self, 50ms);
    co_await s.close();
    log.push_back("closed");
    CHECK(s.size() == 0);
  });
  world.advance(1s);
  CHECK(log == log_t{"cancelled 1", "closed"});
}

TEST_CASE("a child that closes its own scope is cancelled at that await") {
  const auto frames = rt::live_frames();
  virtual_system world;
  log_t log;
  world.spawn<runner>([&](runner* self) -> rt::task<void> {
    rt::scope s{self};
    s.spawn(note_later(self, 1, 10'000, &log));
    s.spawn([](rt::scope* own, log_t* l) -> rt::task<void> {
      l->push_back("closing");
      co_await own->close();
      l->push_back("never");
    }(&s, &log));
    co_await s.join();
    log.push_back("joined");
  });
  world.run();
  CHECK(log == log_t{"closing", "cancelled 1", "joined"});
  CHECK(rt::live_frames() == frames);
}

TEST_CASE("leaving a coroutine cancels the children of its scopes") {
  virtual_system world;
  log_t log;
  world.spawn<runner>([&](runner* self) -> rt::task<void> {
    {
      rt::scope s{self};
      s.spawn(note_later(self, 1, 10'000, &log));
      s.spawn(note_later(self, 2, 10, &log));
      co_await rt::sleep(self, 20ms);
    }
    log.push_back("left");
  });
  world.advance(1s);
  CHECK(log == log_t{"got 2", "cancelled 1", "left"});
}

TEST_CASE("a failed task of an actor is logged and its siblings go on") {
  virtual_system world;
  log_t log;
  world.spawn<runner>([&](runner* self) -> rt::task<void> {
    self->tasks().spawn(note_later(self, -1, 10, &log));
    self->tasks().spawn(note_later(self, 5, 20, &log));
    co_return;
  });
  world.advance(1s);
  CHECK(log == log_t{"got 5"});
}

TEST_CASE("dropping an unstarted task runs nothing of it") {
  const auto frames = rt::live_frames();
  log_t log;
  { auto t = note_later(nullptr, 1, 1, &log); }
  CHECK(log.empty());
  CHECK(rt::live_frames() == frames);
}

TEST_CASE("sleeps of one actor end in the order of their times") {
  const auto seed = seed_or(std::random_device{}());
  CAPTURE(seed);
  virtual_system world{seed};
  base::random_source chance{seed};
  std::vector<int> ended;
  world.spawn<runner>([&](runner* self) -> rt::task<void> {
    for (int i = 0; i < 200; ++i) {
      self->tasks().spawn([](runner* s, int ms, std::vector<int>* out) -> rt::task<void> {
        co_await rt::sleep(s, std::chrono::milliseconds{ms});
        out->push_back(ms);
      }(self, static_cast<int>(1 + chance.below(1000)), &ended));
    }
    co_return;
  });
  world.advance(1s);
  REQUIRE(ended.size() == 200);
  CHECK(std::is_sorted(ended.begin(), ended.end()));
}

// Deadlines and cancellation travel with a request, from actor to actor.
#include <catch2/catch.hpp>

#include "base/random.hpp"
#include "runtime/race.hpp"
#include "runtime/time_left.hpp"
#include "runtime/timeout.hpp"
#include "tests/runtime/messages.hpp"

using namespace dlls;
using namespace dlls::tests;

namespace {

using log_t = std::vector<std::string>;

// Writes down that a coroutine was destroyed before its end.
struct mark {
  log_t* log;
  std::string what;
  bool finished = false;
  mark(log_t* l, std::string w) : log(l), what(std::move(w)) {}
  ~mark() { log->push_back((finished ? "finished " : "cancelled ") + what); }
};

// Passes a request on to the next, or works on it itself for the time that the message names.
class relay : public rt::co_actor<door> {
 public:
  relay(caf::actor_config& config, std::string name, door next, log_t* log, bool detached = false)
      : co_actor(config), name_(std::move(name)), next_(next), log_(log), detached_(detached) {}
  behavior_type make_behavior() override {
    return {serve(&relay::greet, detached_ ? detached : attached), serve(&relay::note)};
  }

 private:
  rt::task<welcome> greet(hello message) {
    mark m{log_, name_};
    if (const auto left = rt::time_left(this))
      log_->push_back(name_ + " has " + std::to_string(*left / 1ms) + " ms");
    else
      log_->push_back(name_ + " has no limit");
    welcome answer;
    if (next_)
      answer = co_await rt::ask(this, next_, 1h, message);
    else
      co_await rt::sleep(this, std::chrono::milliseconds{message.wait_ms});
    m.finished = true;
    co_return answer;
  }
  void note(progress) {}

  std::string name_;
  door next_;
  log_t* log_;
  bool detached_;
};

}  // namespace

TEST_CASE("a time code is never longer than the time, and less than one percent shorter") {
  using rt::detail::time_code;
  using std::chrono::microseconds;
  const auto seed = seed_or(20261124);
  CAPTURE(seed);
  base::random_source chance{seed};
  for (int i = 0; i < 20'000; ++i) {
    const microseconds time{chance.below(std::uint64_t{1} << (1 + chance.below(38)))};
    if (time.count() == 0 || time > 70h) continue;
    const auto code = time_code::encode(time);
    REQUIRE(code > 0);
    REQUIRE(code < 4096);
    const auto back = time_code::decode(code);
    REQUIRE(back <= time);
    REQUIRE(back.count() * 1.01 + 1 >= static_cast<double>(time.count()));
  }
  CHECK(time_code::encode(microseconds{0}) == 1);  // hardly any time is not "no limit"
  CHECK(time_code::encode(microseconds{-5}) == 1);
  CHECK(time_code::encode(77h) == 0);
}

TEST_CASE("an ask inside a handler has no more time than whoever asked the handler") {
  virtual_system world;
  log_t log;
  auto last = world.spawn<relay>("last", door{}, &log);
  auto first = world.spawn<relay>("first", last, &log);
  const auto answer = world.ask(first, 1s, hello{"x", 5000});
  REQUIRE(!answer);
  CHECK(answer.error().code == base::errc::deadline_exceeded);
  CHECK(world.elapsed() <= 1000ms);
  CHECK(world.elapsed() >= 980ms);  // each hop rounds down
  world.advance(1s);
  REQUIRE(log.size() == 4);
  CHECK(log[0].starts_with("first has 99"));
  CHECK(log[1].starts_with("last has 9"));
  CHECK(log[2].starts_with("cancelled "));
  CHECK(log[3].starts_with("cancelled "));
  CHECK(rt::live_frames() == 0);
}

TEST_CASE("cancelling the asker cancels the whole chain behind it") {
  virtual_system world;
  log_t log;
  auto last = world.spawn<relay>("last", door{}, &log);
  auto middle = world.spawn<relay>("middle", last, &log);
  auto first = world.spawn<relay>("first", middle, &log);
  world.spawn<runner>([&](runner* self) -> rt::task<void> {
    co_await rt::try_timeout(self, 100ms, rt::ask(self, first, 1h, hello{"x", 60'000}));
  });
  world.advance(1s);
  CHECK(log.size() == 6);
  CHECK(std::count(log.begin(), log.end(), "cancelled last") == 1);
  CHECK(std::count(log.begin(), log.end(), "cancelled middle") == 1);
  CHECK(std::count(log.begin(), log.end(), "cancelled first") == 1);
  CHECK(std::count_if(log.begin(), log.end(), [](auto& line) {
          return line.find(" has 9") != std::string::npos;  // timeout bounds what is asked within
        }) == 3);
}

TEST_CASE("killing the asker cancels what it asked") {
  virtual_system world;
  log_t log;
  auto last = world.spawn<relay>("last", door{}, &log);
  auto asker = world.spawn<runner>([&](runner* self) -> rt::task<void> {
    co_await rt::ask(self, last, 1h, hello{"x", 60'000});
  });
  world.advance(1s);
  world.kill(asker);
  world.run();
  CHECK(log.back() == "cancelled last");
  CHECK(world.elapsed() == 1000ms);
}

TEST_CASE("a detached handler runs to its end, without a limit") {
  virtual_system world;
  log_t log;
  auto last = world.spawn<relay>("last", door{}, &log, true);
  CHECK(!world.ask(last, 100ms, hello{"x", 500}));
  CHECK(log == log_t{"last has no limit"});
  world.advance(1s);
  CHECK(log == log_t{"last has no limit", "finished last"});
}

TEST_CASE("a cancellation that comes after the answer does no harm") {
  virtual_system world;
  auto p = world.spawn<porter>();
  int answered = 0;
  world.spawn<runner>([&](runner* self) -> rt::task<void> {
    for (int i = 0; i < 100; ++i) {
      // The answer is under way, or here, when the race ends.
      const auto won = co_await rt::race(
          rt::try_ask(self, p, 5s, hello{"you"}), rt::sleep(self, std::chrono::nanoseconds{1}));
      const auto again = co_await rt::try_ask(self, p, 5s, hello{"again", i % 2});
      if (again && again->text == "hello again") ++answered;
    }
  });
  world.advance(1min);
  CHECK(answered == 100);
}

TEST_CASE("cancelling one of two calls of the same asker leaves the other alone") {
  virtual_system world;
  log_t log;
  auto last = world.spawn<relay>("last", door{}, &log);
  base::result<welcome> kept = base::error{};
  world.spawn<runner>([&](runner* self) -> rt::task<void> {
    rt::scope both{self};
    auto keep = [](runner* s, door to, base::result<welcome>* into) -> rt::task<void> {
      *into = co_await rt::try_ask(s, to, 1h, hello{"keep", 5000});
    };
    both.spawn(keep(self, last, &kept));
    co_await rt::try_ask(self, last, 1s, hello{"drop", 5000});
    co_await both.join();
  });
  world.advance(10s);
  CHECK(kept.has_value());
  CHECK(std::count(log.begin(), log.end(), "cancelled last") == 1);
  CHECK(std::count(log.begin(), log.end(), "finished last") == 1);
}

TEST_CASE("tasks of the actor itself have no limit, those of a handler's scope have its own") {
  virtual_system world;
  log_t log;
  class spawner : public rt::co_actor<door> {
   public:
    spawner(caf::actor_config& config, log_t* log) : co_actor(config), log_(log) {}
    behavior_type make_behavior() override {
      return {serve(&spawner::greet), serve(&spawner::note)};
    }

   private:
    rt::task<welcome> greet(hello) {
      tasks().spawn(look("actor"));
      rt::scope own{this};
      own.spawn(look("handler"));
      co_await own.join();
      co_return welcome{};
    }
    rt::task<void> look(std::string who) {
      co_await rt::sleep(this, 10ms);
      log_->push_back(who + (rt::time_left(this) ? " limited" : " free"));
    }
    void note(progress) {}
    log_t* log_;
  };
  auto s = world.spawn<spawner>(&log);
  CHECK(world.ask(s, 5s, hello{}));
  std::sort(log.begin(), log.end());
  CHECK(log == log_t{"actor free", "handler limited"});
}

TEST_CASE("a hundred thousand handlers are found by their calls") {
  virtual_system world;
  log_t log;
  auto last = world.spawn<relay>("last", door{}, &log);
  constexpr int count = 20'000;
  int refused = 0;
  world.spawn<runner>([&](runner* self) -> rt::task<void> {
    rt::scope all{self};
    auto one = [](runner* s, door to, int ms, int* n) -> rt::task<void> {
      if (!co_await rt::try_ask(s, to, std::chrono::milliseconds{ms}, hello{"x", 60'000})) ++*n;
    };
    for (int i = 0; i < count; ++i) all.spawn(one(self, last, 1 + i % 100, &refused));
    co_await all.join();
  });
  world.advance(1s);
  CHECK(refused == count);
  CHECK(std::count(log.begin(), log.end(), "cancelled last") == count);
}

TEST_CASE("an actor that knows no cancellation is not disturbed by one") {
  virtual_system world;
  std::vector<caf::response_promise> kept;
  int strange = 0;
  // With an argument: without one CAF binds a null reference, which UBSan reports.
  const auto mute_body = [&](caf::event_based_actor* self, int) -> caf::behavior {
    self->set_default_handler(
        [&](caf::scheduled_actor*, caf::message_view&) -> caf::result<caf::message> {
          ++strange;
          return caf::sec::unexpected_message;
        });
    return {[self, &kept](hello&) -> caf::result<welcome> {
      kept.push_back(self->make_response_promise());
      return caf::delegated<welcome>{};
    }};
  };
  auto mute = world.actors().spawn(mute_body, 0);
  world.spawn<runner>([&](runner* self) -> rt::task<void> {
    co_await rt::try_ask<welcome>(self, mute, 10ms, hello{"x"});
  });
  world.advance(1s);
  CHECK(kept.size() == 1);
  CHECK(strange == 0);
  world.kill(mute);
  world.run();
}

#include <catch2/catch.hpp>

#include "runtime/detail/frames.hpp"
#include "tests/runtime/messages.hpp"

using namespace dlls;
using namespace dlls::tests;

namespace {

// Locals of a coroutine that tell when they die.
struct tell {
  int* count;
  explicit tell(int* c) : count(c) {}
  ~tell() { ++*count; }
};

}  // namespace

TEST_CASE("killing an actor with 1,000 suspended handlers destroys every frame and answers all") {
  const auto frames = rt::live_frames();
  {
    virtual_system world;
    auto p = world.spawn<porter>();
    int answered = 0;
    for (int i = 0; i < 1000; ++i) {
      world.outside().ask(p, 1h, hello{"x", 3'600'000}, [&](base::result<welcome> r) {
        CHECK(r.error().code == base::errc::unavailable);
        ++answered;
      });
    }
    world.run();
    CHECK(rt::live_frames() == frames + 1000);
    CHECK(answered == 0);
    world.kill(p);
    world.run();
    CHECK(answered == 1000);
    CHECK(rt::live_frames() == frames);
  }
  CHECK(rt::live_frames() == frames);
}

TEST_CASE("a killed actor answers askers that are plain CAF actors, too") {
  // Nothing of ours watches for them: the answer can only come from the handler's own end.
  class plain : public caf::event_based_actor {
   public:
    plain(caf::actor_config& config, door to, std::vector<base::errc>* log)
        : event_based_actor(config), to_(std::move(to)), log_(log) {}
    caf::behavior make_behavior() override {
      for (int i = 0; i < 10; ++i) {
        request(to_, caf::infinite, hello{"x", 3'600'000})
            .then(
                [](welcome&) {}, [this](caf::error& e) { log_->push_back(rt::from_caf(e).code); });
      }
      return {[](caf::unit_t) {}};
    }

   private:
    door to_;
    std::vector<base::errc>* log_;
  };
  virtual_system world;
  std::vector<base::errc> log;
  auto p = world.spawn<porter>();
  auto asker = world.spawn<plain>(p, &log);
  world.run();
  CHECK(log.empty());
  world.kill(p);
  world.run();
  CHECK(log == std::vector<base::errc>(10, base::errc::unavailable));
}

TEST_CASE("quitting inside a handler ends the actor and answers the handler's own asker") {
  const auto frames = rt::live_frames();
  virtual_system world;
  auto p = world.spawn<porter>();
  auto r = world.ask(p, 1h, hello{"quit", 5000});
  CHECK(r.error().code == base::errc::unavailable);
  CHECK(world.elapsed() < 5s);
  CHECK(rt::live_frames() == frames);
}

TEST_CASE("killing destroys the locals of every kind of wait") {
  const auto frames = rt::live_frames();
  int dead = 0;
  {
    virtual_system world;
    auto p = world.spawn<porter>();
    auto r = world.spawn<runner>([&](runner* self) -> rt::task<void> {
      tell outer{&dead};
      rt::scope inner{self};
      inner.spawn([](runner* s, door to, int* d) -> rt::task<void> {
        tell t{d};
        co_await rt::ask(s, to, 2h, hello{"x", 3'600'000});
      }(self, p, &dead));
      inner.spawn([](runner* s, int* d) -> rt::task<void> {
        tell t{d};
        co_await rt::sleep(s, 2h);
      }(self, &dead));
      inner.spawn([](runner* s, int* d) -> rt::task<void> {
        tell t{d};
        std::vector<rt::task<void>> two;
        for (int i = 0; i < 2; ++i) {
          two.push_back([](runner* a, int* b) -> rt::task<void> {
            tell u{b};
            std::vector<rt::resolver<void>> kept;
            co_await rt::completion<void>(
                a, [&kept](rt::resolver<void> done) { kept.push_back(std::move(done)); });
          }(s, d));
        }
        co_await rt::gather(std::move(two));
      }(self, &dead));
      co_await inner.join();
    });
    world.run();
    CHECK(dead == 0);
    world.kill(r);
    world.run();
    CHECK(dead == 6);
  }
  CHECK(rt::live_frames() == frames);
}

TEST_CASE("an actor without handles lives as long as it waits for something") {
  virtual_system world;
  int steps = 0;
  world.actors().spawn<runner>([&steps](runner* self) -> rt::task<void> {
    for (; steps < 3; ++steps) co_await rt::sleep(self, 1s);
  });
  world.run();
  CHECK(world.actors().registry().running() == 1);
  world.advance(5s);
  CHECK(steps == 3);
  CHECK(world.actors().registry().running() == 0);
}

TEST_CASE("foreign exceptions in a handler become internal errors and the actor goes on") {
  class thrower : public rt::co_actor<caf::actor> {
   public:
    using co_actor::co_actor;
    caf::behavior make_behavior() override {
      return {serve(&thrower::plain), serve(&thrower::suspended), serve(&thrower::refused)};
    }

   private:
    int plain(int) { throw std::runtime_error("plain trouble"); }
    rt::task<int> suspended(std::string) {
      co_await rt::sleep(this, 1s);
      throw 42;
    }
    base::result<int> refused(double) {
      return base::error{base::errc::permission_denied, "no", "ask"};
    }
  };
  virtual_system world;
  auto t = world.spawn<thrower>();
  CHECK(world.ask<int>(t, 5s, 1).error() == base::error{base::errc::internal, "plain trouble"});
  CHECK(world.ask<int>(t, 5s, std::string{}).error().code == base::errc::internal);
  CHECK(
      world.ask<int>(t, 5s, 1.0).error() ==
      base::error{base::errc::permission_denied, "no", "ask"});
  caf::anon_send(t, 1);  // nobody to tell: logged, not fatal
  CHECK(world.ask<int>(t, 5s, 1.0).error().code == base::errc::permission_denied);
}

TEST_CASE(
    "current_sender is the asker until the first suspension, and down messages reach on_down") {
  class watcher : public rt::co_actor<caf::actor> {
   public:
    watcher(caf::actor_config& config, std::string* log) : co_actor(config), log_(log) {
      on_down([this](const caf::actor_addr& who, base::error why) {
        *log_ += "down " + std::to_string(who.id()) + " " + std::string{base::name(why.code)};
      });
    }
    caf::behavior make_behavior() override { return {serve(&watcher::watch)}; }

   private:
    rt::task<bool> watch(caf::actor whom) {
      const bool known = current_sender() != nullptr;
      monitor(whom);
      // Our own watching of an askee must not disturb the monitor.
      co_await rt::try_ask<welcome>(this, whom, 1h, hello{"x"});
      co_return known;
    }
    std::string* log_;
  };
  virtual_system world;
  std::string log;
  auto p = world.spawn<porter>();
  auto w = world.spawn<watcher>(&log);
  CHECK(world.ask<bool>(w, 5s, caf::actor_cast<caf::actor>(p)).value());
  world.kill(p);
  world.run();
  CHECK(log == "down " + std::to_string(p.id()) + " unavailable");
}

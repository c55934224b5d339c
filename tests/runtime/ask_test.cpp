#include <catch2/catch.hpp>

#include "tests/runtime/messages.hpp"

using namespace dlls;
using namespace dlls::tests;

namespace {

// Takes requests and never answers; a plain CAF actor, so nothing of ours helps it.
caf::behavior mute(caf::event_based_actor* self, std::vector<caf::response_promise>* kept) {
  return {
      [=](hello&) -> caf::result<welcome> {
        kept->push_back(self->make_response_promise());
        return caf::delegated<welcome>{};
      },
      [=](progress) { self->quit(); }};
}

// Dynamically typed. (CAF's spawn of a function without arguments binds a null reference, which
// UBSan reports; so this is a class.)
class adder : public caf::event_based_actor {
 public:
  using event_based_actor::event_based_actor;
  caf::behavior make_behavior() override {
    return {
        [](int a, int b) { return a + b; },
        [](const std::string& s) { return caf::make_result(s, static_cast<int>(s.size())); }};
  }
};

}  // namespace

TEST_CASE("an ask from outside is answered after virtual time has passed") {
  virtual_system world;
  auto p = world.spawn<porter>();
  auto r = world.ask(p, 10s, hello{"you", 3000});
  REQUIRE(r);
  CHECK(r->text == "hello you");
  CHECK(world.elapsed() == 3000ms);
}

TEST_CASE("messages with constructors survive as temporaries inside co_await") {
  // GCC 12.2 frees an invalid pointer when an aggregate temporary with a non-trivial member stands
  // inside a co_await expression. Our message types have constructors, which avoids it; this test
  // would crash (certainly under ASan) if they did not, or if a new compiler broke this form too.
  virtual_system world;
  auto p = world.spawn<porter>();
  std::vector<std::string> got;
  world.spawn<runner>([&](runner* self) -> rt::task<void> {
    got.push_back((co_await rt::ask(self, p, 5s, hello{"long enough to live on the heap 1"})).text);
    auto r = co_await rt::try_ask(self, p, 5s, hello{"long enough to live on the heap 2", 10});
    got.push_back(r->text + (co_await rt::ask(self, p, 5s, hello{std::string(40, 'x')})).text);
  });
  world.advance(1s);
  REQUIRE(got.size() == 2);
  CHECK(got[0] == "hello long enough to live on the heap 1");
  CHECK(got[1] == "hello long enough to live on the heap 2hello " + std::string(40, 'x'));
}

TEST_CASE("an ask fails with the callee's own error, hint included") {
  virtual_system world;
  auto p = world.spawn<porter>();
  base::error why;
  world.spawn<runner>([&](runner* self) -> rt::task<void> {
    auto r = co_await rt::try_ask(self, p, 5s, hello{"x", -1});
    if (!r) why = r.error();
    CHECK_THROWS_AS(co_await rt::ask(self, p, 5s, hello{"x", -1}), base::failure);
  });
  world.run();
  CHECK(why == base::error{base::errc::stale, "too old", "come again"});
}

TEST_CASE("an ask without an answer fails at its deadline and the late answer is ignored") {
  virtual_system world;
  auto p = world.spawn<porter>();
  std::vector<std::string> log;
  world.spawn<runner>([&](runner* self) -> rt::task<void> {
    auto late = co_await rt::try_ask(self, p, 100ms, hello{"slow", 200});
    log.push_back(
        std::string{name(late.error().code)} + " at " + std::to_string(world.elapsed().count()));
    // The slot of the first ask is used again when its late answer comes in.
    auto next = co_await rt::try_ask(self, p, 1s, hello{"next", 300});
    log.push_back(next->text);
  });
  world.advance(2s);
  CHECK(log == std::vector<std::string>{"deadline_exceeded at 100", "hello next"});
}

TEST_CASE("a deadline that has passed already fails at once and sends nothing") {
  virtual_system world;
  int seen = 0;
  auto p = world.spawn<porter>(&seen);
  std::vector<base::errc> codes;
  world.spawn<runner>([&](runner* self) -> rt::task<void> {
    codes.push_back((co_await rt::try_ask(self, p, 0s, progress{1})).error().code);
    codes.push_back((co_await rt::try_ask(self, p, -5s, progress{1})).error().code);
  });
  world.run();
  CHECK(codes == std::vector<base::errc>(2, base::errc::deadline_exceeded));
  CHECK(seen == 0);
}

TEST_CASE("asking an empty handle is unavailable") {
  virtual_system world;
  base::errc code{};
  world.spawn<runner>([&](runner* self) -> rt::task<void> {
    code = (co_await rt::try_ask(self, door{}, 5s, hello{"x"})).error().code;
  });
  world.run();
  CHECK(code == base::errc::unavailable);
}

TEST_CASE("a handler without a result answers its asker when it has run") {
  virtual_system world;
  int seen = 0;
  auto p = world.spawn<porter>(&seen);
  bool done = false;
  world.spawn<runner>([&](runner* self) -> rt::task<void> {
    co_await rt::ask(self, p, 5s, progress{7});
    done = true;
  });
  world.run();
  CHECK(done);
  CHECK(seen == 7);
}

TEST_CASE("a dynamically typed callee is asked by naming the answer's type") {
  virtual_system world;
  auto sum = world.spawn<adder>();
  int three = 0;
  std::tuple<std::string, int> pair;
  base::errc code{};
  world.spawn<runner>([&](runner* self) -> rt::task<void> {
    three = co_await rt::ask<int>(self, sum, 5s, 1, 2);
    pair = co_await rt::ask<std::tuple<std::string, int>>(self, sum, 5s, "four");
    code = (co_await rt::try_ask<welcome>(self, sum, 5s, 1, 2)).error().code;
  });
  world.run();
  CHECK(three == 3);
  CHECK(pair == std::tuple{std::string{"four"}, 4});
  CHECK(code == base::errc::internal);
}

TEST_CASE("when a callee dies with the request in its hands, the ask fails at once") {
  virtual_system world;
  std::vector<caf::response_promise> kept;
  auto m = world.actors().spawn(mute, &kept);
  base::error why;
  auto later = base::errc::ok;
  world.spawn<runner>([&](runner* self) -> rt::task<void> {
    auto r = co_await rt::try_ask<welcome>(self, m, 1h, hello{"x"});
    why = r.error();
    // The asker goes on working; asking the dead fails at once too.
    later = (co_await rt::try_ask<welcome>(self, m, 1h, hello{"x"})).error().code;
  });
  world.run();
  REQUIRE(kept.size() == 1);
  caf::anon_send(m, progress{1});
  world.run();
  CHECK(why.code == base::errc::unavailable);
  CHECK(why.message.find("actor " + std::to_string(m.id())) != std::string::npos);
  CHECK(later == base::errc::unavailable);
  CHECK(world.elapsed() < 1s);
}

TEST_CASE("when a callee dies, only the asks that wait for it fail") {
  virtual_system world;
  std::vector<caf::response_promise> kept;
  auto first = world.actors().spawn(mute, &kept);
  auto p = world.spawn<porter>();
  std::vector<std::string> log;
  world.spawn<runner>([&](runner* self) -> rt::task<void> {
    for (int i = 0; i < 3; ++i) {
      self->tasks().spawn([](runner* s, caf::actor to, auto* out) -> rt::task<void> {
        auto r = co_await rt::try_ask<welcome>(s, to, 1h, hello{"x"});
        out->push_back(std::string{name(r.error().code)});
      }(self, first, &log));
    }
    log.push_back((co_await rt::ask(self, p, 1h, hello{"alive", 1000})).text);
  });
  world.run();
  caf::anon_send_exit(first, caf::exit_reason::kill);
  world.advance(2s);
  CHECK(
      log == std::vector<std::string>{"unavailable", "unavailable", "unavailable", "hello alive"});
}

TEST_CASE("a deadline still set keeps neither the actor nor the clock busy after the answer") {
  virtual_system world;
  auto p = world.spawn<porter>();
  {
    auto asker = world.actors().spawn<runner>([p](runner* self) -> rt::task<void> {
      for (int i = 0; i < 500; ++i) co_await rt::ask(self, p, 24h, hello{"x"});
    });
  }
  world.run();
  CHECK(world.timers() == 0);
  CHECK(world.actors().registry().running() == 1);  // the porter; the asker has gone
}

TEST_CASE("one actor keeps one live entry in the clock, however many deadlines it has") {
  virtual_system world;
  auto p = world.spawn<porter>();
  world.run();
  const auto before = world.timers();
  int done = 0;
  world.spawn<runner>([&](runner* self) -> rt::task<void> {
    for (int i = 0; i < 1000; ++i) {
      self->tasks().spawn([](runner* s, int n, int* count) -> rt::task<void> {
        co_await rt::sleep(s, std::chrono::milliseconds{5000 - n});
        ++*count;
      }(self, i, &done));
    }
    co_return;
  });
  world.run();
  CHECK(world.timers() - before == 1);
  world.advance(5s);
  CHECK(done == 1000);
}

TEST_CASE("many asks leave nothing behind at the asker") {
  virtual_system world;
  std::vector<door> kept;
  int done = 0;
  std::size_t timers_max = 0, watched_max = 0;
  auto asker = world.spawn<runner>([&](runner* self) -> rt::task<void> {
    auto p = self->spawn<porter>();
    // An earlier deadline that stays open, so that met ones can't leave from the front.
    self->tasks().spawn([](runner* s) -> rt::task<void> { co_await rt::sleep(s, 1h); }(self));
    for (int i = 0; i < 5000; ++i) {
      co_await rt::ask(self, p, 24h, hello{"x"});
      timers_max = std::max(timers_max, self->core().calls().timers());
    }
    // Callees that die, and callees that live on without being asked again.
    for (int i = 0; i < 600; ++i) {
      auto other = world.spawn<porter>();
      co_await rt::ask(self, other, 1h, hello{"x"});
      if (i % 2 == 0)
        self->send_exit(other, caf::exit_reason::user_shutdown);
      else
        kept.push_back(other);
      watched_max = std::max(watched_max, self->core().calls().watched());
    }
    done = 1;
  });
  world.run();
  CHECK(done == 1);
  CHECK(timers_max <= 2 * 65);
  CHECK(watched_max <= 65);
}

TEST_CASE("a message that several actors share is copied, one that nobody shares is moved") {
  virtual_system world;
  auto a = world.spawn<porter>();
  auto b = world.spawn<porter>();
  auto shared = caf::make_message(hello{"both"});
  int answers = 0;
  world.spawn<runner>([&](runner* self) -> rt::task<void> {
    for (auto& to : {a, b}) {
      self->request(caf::actor_cast<caf::actor>(to), caf::infinite, shared)
          .then([&](const welcome& w) { answers += w.text == "hello both"; });
    }
    co_return;
  });
  world.run();
  CHECK(answers == 2);
  CHECK(shared.get_as<hello>(0).name == "both");
}

TEST_CASE("the longest times are for ever, and do not overflow") {
  virtual_system world;
  auto p = world.spawn<porter>();
  bool answered = false, woke = false;
  world.spawn<runner>([&](runner* self) -> rt::task<void> {
    auto r = co_await rt::try_ask(self, p, std::chrono::hours::max(), hello{"x", 1000});
    answered = r.has_value();
    co_await rt::sleep(self, std::chrono::seconds::max());
    woke = true;
  });
  world.advance(24h * 365);
  CHECK(answered);
  CHECK(!woke);
}

// Restarts on virtual time: every pause is exact, and a seed decides the order of turns.
#include "runtime/supervise.hpp"

#include <catch2/catch.hpp>

#include "runtime/detail/frames.hpp"
#include "runtime/timeout.hpp"
#include "tests/runtime/messages.hpp"

using namespace dlls;
using namespace dlls::tests;
using Catch::Matchers::Contains;
using rt::restart_rule;

namespace {

using lines = std::vector<std::string>;

// Writes down when it begins and ends; waits for ever, ends as told, or refuses to end.
class worker : public rt::co_actor<caf::actor> {
 public:
  worker(caf::actor_config& config, std::string name, lines* log, bool stubborn = false)
      : co_actor(config) {
    log->push_back("+" + name);
    attach_functor([=](const caf::error&) { log->push_back("-" + name); });
    if (stubborn) set_exit_handler([](caf::exit_msg&) {});
  }
  caf::behavior make_behavior() override { return {serve(&worker::obey), serve(&worker::hang)}; }

 private:
  void obey(std::string order) {
    if (order == "done") quit();
    if (order == "fail") quit(rt::to_caf({base::errc::corrupt, "as told"}));
  }
  rt::task<welcome> hang(hello) {
    co_await rt::sleep(this, 24h);
    co_return welcome{"never"};
  }
};

// Owns a supervisor that the test fills.
class boss : public rt::co_actor<caf::actor> {
 public:
  using body = std::function<void(boss*)>;
  boss(caf::actor_config& config, rt::supervisor_options how, body begin)
      : co_actor(config), begin_(std::move(begin)), how_(std::move(how)) {}
  caf::behavior make_behavior() override {
    children.emplace(this, how_);
    begin_(this);
    return {[this](caf::unit_t) { std::exchange(next, {})(); }};
  }
  std::optional<rt::supervisor> children;
  std::function<void()> next;  // on its turn

 private:
  body begin_;
  rt::supervisor_options how_;
};

// A boss, and what its children wrote down.
struct office {
  explicit office(rt::supervisor_options how = {}, std::uint64_t seed = seed_or(1)) : world(seed) {
    how.seed = seed;
    owner = world.spawn<boss>(how, [this](boss* self) {
      at = self;
      if (begin) begin(self);
    });
  }
  void add(const std::string& name, bool stubborn = false) {
    on_turn([this, name, stubborn] {
      at->children->add(name, [=, this] { return world.spawn<worker>(name, &log, stubborn); });
    });
  }
  void on_turn(std::function<void()> what) {
    at->next = std::move(what);
    caf::anon_send(owner, caf::unit);
    world.run();
  }
  caf::actor child(const std::string& name) { return at->children->get(name); }
  void tell(const std::string& name, const std::string& order) {
    caf::anon_send(child(name), order);
    world.run();
  }
  lines take() { return std::exchange(log, {}); }
  void open() { world.run(); }

  lines log;
  boss* at = nullptr;
  std::function<void(boss*)> begin;
  virtual_system world;
  caf::actor owner;
};

// Runs a coroutine in the boss and gives what up() says: a handle, or the error.
base::result<caf::actor> up(office& o, const std::string& name, std::chrono::milliseconds limit) {
  std::optional<base::result<caf::actor>> got;
  o.on_turn([&] {
    o.at->tasks().spawn([](boss* self, std::string n, auto time, auto* out) -> rt::task<void> {
      auto coming = self->children->up(n);
      out->emplace(co_await rt::try_timeout(self, time, std::move(coming)));
    }(o.at, name, limit, &got));
  });
  o.world.run_until([&] { return got.has_value(); }, limit);
  REQUIRE(got);
  return *got;
}

}  // namespace

TEST_CASE("one for one: the child that failed comes back alone, after a pause") {
  office o;
  o.open();
  o.add("a");
  o.add("b");
  CHECK(o.take() == lines{"+a", "+b"});
  const auto a = o.child("a"), b = o.child("b");
  o.tell("a", "fail");
  CHECK(o.take() == lines{"-a"});
  CHECK_FALSE(o.child("a"));
  o.world.advance(100ms);
  CHECK(o.take() == lines{"+a"});
  CHECK(o.child("a"));
  CHECK(o.child("a") != a);
  CHECK(o.child("b") == b);
  CHECK(o.at->children->restarts() == 1);
  CHECK_FALSE(o.child("nobody"));
}

TEST_CASE("what is asked of a child fails as soon as it ends, and the next handle works") {
  office o;
  o.open();
  o.add("a");
  base::error why;
  long at_ms = -1;
  o.world.spawn<runner>([&](runner* self) -> rt::task<void> {
    auto answer = co_await rt::try_ask<welcome>(self, o.child("a"), 10h, hello{"x"});
    why = answer.error();
    at_ms = o.world.elapsed().count();
  });
  o.world.advance(5s);
  CHECK(at_ms == -1);
  o.world.kill(o.child("a"));
  o.world.run();
  CHECK(why.code == base::errc::unavailable);
  CHECK(at_ms == 5000);
  auto again = up(o, "a", 1s);
  REQUIRE(again);
  CHECK(*again == o.child("a"));
}

TEST_CASE("pauses double up to their limit, are drawn from the seed, and begin anew when healthy") {
  rt::supervisor_options how;
  how.restarts_max = rt::supervisor_options::without_limit;
  how.backoff_most = 1s;
  const auto seed = seed_or(7);
  CAPTURE(seed);
  const auto run = [&](std::uint64_t with) {
    office o{how, with};
    o.open();
    o.add("a");
    std::vector<long> pauses;
    const auto fail = [&] {
      const auto then = o.world.elapsed().count();
      o.tell("a", "fail");
      CHECK(o.world.run_until([&] { return static_cast<bool>(o.child("a")); }, 2s));
      pauses.push_back(o.world.elapsed().count() - then);
    };
    for (int i = 0; i < 7; ++i) fail();
    o.world.advance(10s);
    fail();
    return pauses;
  };
  const auto pauses = run(seed);
  const std::vector<long> whole{100, 200, 400, 800, 1000, 1000, 1000, 100};
  REQUIRE(pauses.size() == whole.size());
  for (std::size_t i = 0; i < whole.size(); ++i) {
    CAPTURE(i);
    CHECK(pauses[i] >= whole[i] / 2);
    CHECK(pauses[i] <= whole[i]);
  }
  CHECK(run(seed) == pauses);
  CHECK(run(seed + 1) != pauses);
}

TEST_CASE("a crash loop ends at the limit: the owner quits with the reason, and nobody is left") {
  const auto frames = rt::live_frames();
  {
    office o{{.restarts_max = 3, .within = 1min}};
    base::error end;
    o.owner->attach_functor([&](const caf::error& reason) { end = rt::from_caf(reason); });
    o.open();
    o.add("good");
    int tries = 0;
    auto failing = [&tries]() -> caf::actor {
      ++tries;
      throw base::failure({base::errc::storage_full, "no room", "make some"});
    };
    o.on_turn([&] { o.at->children->add("bad", failing); });
    auto coming = up(o, "bad", 1min);
    CHECK(coming.error().code == base::errc::unavailable);
    CHECK_THAT(coming.error().message, Contains("after 3 restarts") && Contains("'bad': no room"));
    CHECK(coming.error().hint == "make some");
    CHECK(tries == 4);
    o.world.run();
    CHECK(end == coming.error());
    CHECK(o.log == lines{"+good", "-good"});
  }
  CHECK(rt::live_frames() == frames);
}

TEST_CASE("restarts further apart than the window are no crash loop") {
  office o{{.healthy_after = 1s, .restarts_max = 2, .within = 10s}};
  o.open();
  o.add("a");
  for (int i = 0; i < 20; ++i) {
    o.tell("a", "fail");
    o.world.advance(6s);
    REQUIRE(o.child("a"));
  }
  CHECK(o.at->children->restarts() == 20);
}

TEST_CASE("on_give_up is called instead, and may destroy the supervisor") {
  rt::supervisor_options how;
  how.restarts_max = 0;
  base::error why;
  boss* self = nullptr;
  how.on_give_up = [&](const base::error& e) {
    why = e;
    self->children.reset();
  };
  office o{how};
  o.begin = [&](boss* b) { self = b; };
  o.open();
  o.add("a");
  o.add("b");
  o.tell("b", "fail");
  CHECK(why.code == base::errc::unavailable);
  CHECK_THAT(why.message, Contains("'b': as told"));
  CHECK(o.log == lines{"+a", "+b", "-b", "-a"});
  CHECK_FALSE(o.at->children);
}

TEST_CASE("all for one: the others end in reverse order, then all start in order") {
  const auto seed = GENERATE(take(10, random(1, 1'000'000)));
  office o{{.rule = restart_rule::all_for_one}, seed_or(static_cast<std::uint64_t>(seed))};
  CAPTURE(o.world.seed());
  o.open();
  for (const char* name : {"a", "b", "c", "d"}) o.add(name);
  o.take();
  o.tell("c", "fail");
  o.world.advance(100ms);
  CHECK(o.take() == lines{"-c", "-d", "-b", "-a", "+a", "+b", "+c", "+d"});
  CHECK(o.at->children->restarts() == 1);
  o.tell("a", "done");  // has done its work, and stays down when the others come back
  o.tell("d", "fail");
  o.world.advance(200ms);
  CHECK(o.take() == lines{"-a", "-d", "-c", "-b", "+b", "+c", "+d"});
}

TEST_CASE("all for one: who does not end when it is asked to is killed") {
  office o{{.rule = restart_rule::all_for_one, .end_within = 3s}};
  o.open();
  o.add("stubborn", true);
  o.add("b");
  o.take();
  o.tell("b", "fail");
  o.world.advance(2s);
  CHECK(o.take() == lines{"-b"});
  o.world.advance(1s);
  CHECK(o.take() == lines{"-stubborn"});
  o.world.advance(100ms);
  CHECK(o.take() == lines{"+stubborn", "+b"});
}

TEST_CASE("a child that has done its work stays down, unless it is wanted for ever") {
  for (const bool for_ever : {false, true}) {
    office o{{.restart_normal_ends = for_ever}};
    o.open();
    o.add("a");
    o.tell("a", "done");
    o.world.advance(1s);
    CHECK(o.log == (for_ever ? lines{"+a", "-a", "+a"} : lines{"+a", "-a"}));
    auto coming = up(o, "a", 1s);
    if (for_ever)
      CHECK(coming);
    else
      CHECK(coming.error().code == base::errc::failed_precondition);
    CHECK(up(o, "nobody", 1s).error().code == base::errc::not_found);
  }
}

TEST_CASE("a factory may be a coroutine, may fail first, and may give nobody") {
  office o;
  o.open();
  int tries = 0;
  auto slow = [&] {
    return [](boss* self, lines* log, int attempt) -> rt::task<caf::actor> {
      co_await rt::sleep(self, 1s);
      if (attempt == 1) throw base::failure({base::errc::unavailable, "not yet"});
      if (attempt == 2) co_return caf::actor{};
      co_return self->spawn<worker>("slow", log);
    }(o.at, &o.log, ++tries);
  };
  o.on_turn([&] { o.at->children->add("slow", slow); });
  auto coming = up(o, "slow", 10s);
  REQUIRE(coming);
  CHECK(tries == 3);
  CHECK(o.log == lines{"+slow"});
  CHECK(o.world.elapsed() >= 3s);
  CHECK(o.world.elapsed() <= 3300ms);
  o.world.kill(*coming);
}

TEST_CASE("the owner's end ends the children, and what is being started is never started") {
  const auto frames = rt::live_frames();
  for (const bool killed : {true, false}) {
    office o;
    o.open();
    o.add("a");
    o.add("b");
    bool begun = false;
    auto late = [&] {
      return [](boss* self, lines* log, bool* out) -> rt::task<caf::actor> {
        *out = true;
        co_await rt::sleep(self, 1s);
        co_return self->spawn<worker>("late", log);
      }(o.at, &o.log, &begun);
    };
    o.on_turn([&] { o.at->children->add("late", late); });
    CHECK(begun);
    if (killed)
      o.world.kill(o.owner);  // whose handle stays
    else
      o.on_turn([&] { o.at->children.reset(); });
    o.world.advance(5s);
    CHECK(o.log.size() == 4);
    CHECK(
        std::set<std::string>(o.log.begin(), o.log.end()) ==
        std::set<std::string>{"+a", "+b", "-a", "-b"});
  }
  CHECK(rt::live_frames() == frames);
}

TEST_CASE("an owner without handles lives as long as it has a child") {
  lines log;
  virtual_system world;
  caf::actor child;
  world.actors().spawn<boss>(rt::supervisor_options{}, [&](boss* self) {
    self->children->add("a", [&, self] { return child = self->spawn<worker>("a", &log); });
  });
  world.run();
  CHECK(world.actors().registry().running() == 2);
  caf::anon_send(std::exchange(child, nullptr), std::string{"done"});
  world.run();
  CHECK(log == lines{"+a", "-a"});
  CHECK(world.actors().registry().running() == 0);
}

TEST_CASE("the supervisor leaves its actor's own monitors and down handler alone") {
  std::string seen;
  office o;
  o.begin = [&](boss* self) {
    self->set_down_handler([&](caf::down_msg& down) { seen = to_string(down.reason); });
  };
  o.open();
  o.add("a");
  o.on_turn([&] { o.at->monitor(o.child("a")); });
  o.world.kill(o.child("a"));
  o.world.advance(100ms);
  CHECK_THAT(seen, Contains("kill"));
  CHECK(o.child("a"));
}

TEST_CASE("whatever is killed in whatever order, all are up again and none is there twice") {
  const auto frames = rt::live_frames();
  for (const auto rule : {restart_rule::one_for_one, restart_rule::all_for_one}) {
    for (std::uint64_t i = 0; i < 40; ++i) {
      rt::supervisor_options how;
      how.rule = rule;
      how.restarts_max = rt::supervisor_options::without_limit;
      office o{how, seed_or(1000 + i)};
      CAPTURE(o.world.seed());
      base::random_source chance{o.world.seed()};
      o.open();
      const lines names{"a", "b", "c"};
      for (const auto& name : names) o.add(name);
      for (int step = 0; step < 30; ++step) {
        if (auto one = o.child(names[chance.below(3)])) o.world.kill(one);
        if (chance.below(2) == 0) o.world.advance(std::chrono::milliseconds{chance.below(300)});
      }
      o.world.advance(2min);
      for (const auto& name : names) {
        CHECK(o.child(name));
        CHECK(
            std::count(o.log.begin(), o.log.end(), "+" + name) ==
            std::count(o.log.begin(), o.log.end(), "-" + name) + 1);
      }
    }
  }
  CHECK(rt::live_frames() == frames);
}

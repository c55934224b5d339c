// What is shown of every kind of wait, with its age in virtual time.
#include "runtime/inspect.hpp"

#include <catch2/catch.hpp>
#include <future>

#include "runtime/detail/directory.hpp"
#include "runtime/race.hpp"
#include "runtime/subscribe.hpp"
#include "runtime/supervise.hpp"
#include "runtime/timeout.hpp"
#include "tests/runtime/messages.hpp"
#include "tests/support/turnstile.hpp"

using namespace dlls;
using namespace dlls::tests;
using Catch::Matchers::Contains;
using rt::actor_condition;

namespace {

using tap = caf::typed_actor<caf::replies_to<int>::with<rt::part<int>>>;

// Gives numbers as fast as they are taken, and nothing after `last`.
class fountain : public rt::co_actor<tap> {
 public:
  using co_actor::co_actor;
  behavior_type make_behavior() override { return {serve(&fountain::run)}; }
  const char* name() const override { return "fountain"; }

 private:
  rt::stream<int> run(int last) {
    for (int i = 0; i < last; ++i) co_yield i;
    co_await rt::sleep(this, 24h);
  }
};

std::vector<rt::actor_view> look(virtual_system& world, std::size_t tasks_max = 1000) {
  rt::snapshot now{world.actors(), tasks_max};
  world.run();
  CHECK(now.wait(0s));
  return now.take();
}

template <class Handle>
rt::actor_view look_at(virtual_system& world, const Handle& who) {
  for (auto& one : look(world))
    if (one.id == who.id()) return one;
  FAIL("not listed");
  return {};
}

// The one task of an actor, and its one wait.
rt::task_view only_task(const rt::actor_view& of) {
  CHECK(of.condition == actor_condition::answered);
  REQUIRE(of.tasks.size() == 1);
  REQUIRE(of.tasks[0].waits.size() == 1);
  return of.tasks[0];
}

}  // namespace

TEST_CASE("a handler that sleeps is listed with its message's type, its asker, age and time left") {
  virtual_system world;
  auto p = world.spawn<porter>();
  auto asker = world.spawn<runner>([&](runner* self) -> rt::task<void> {
    co_await rt::ask(self, p, 1h, hello{"secret", 3'000'000});
  });
  world.advance(90s);
  const auto there = look_at(world, p);
  CHECK(there.name == "dlls::tests::porter");
  const auto handler = only_task(there);
  CHECK(
      handler.what ==
      "handler of dlls::tests::hello, asked by actor " + std::to_string(asker.id()));
  CHECK(handler.depth == 0);
  CHECK(handler.age == 90s);
  REQUIRE(handler.time_left);
  CHECK(*handler.time_left <= 1h - 90s);
  CHECK(*handler.time_left > 1h - 90s - 1min);  // rounded down by less than 1 % on its way
  CHECK(handler.waits[0].what == "a time to come");
  CHECK(handler.waits[0].age == 90s);

  const auto waiting = only_task(look_at(world, asker));
  CHECK_THAT(waiting.what, Contains("task of messages.hpp:"));
  CHECK_FALSE(waiting.time_left);
  CHECK(waiting.waits[0].what == "the answer of actor " + std::to_string(p.id()));
  CHECK(waiting.waits[0].age == 90s);

  const auto text = rt::to_text(look(world));
  CHECK_THAT(text, Contains("2 actors, 2 tasks") && Contains("waits 90.0 s for a time to come"));
  CHECK_THAT(text + rt::to_json(look(world)), !Contains("secret"));
}

TEST_CASE("the second wait of a task has an age of its own") {
  virtual_system world;
  auto r = world.spawn<runner>([&](runner* self) -> rt::task<void> {
    co_await rt::sleep(self, 10s);
    co_await rt::sleep(self, 1h);
  });
  world.advance(25s);
  const auto task = only_task(look_at(world, r));
  CHECK(task.age == 25s);
  CHECK(task.waits[0].age == 15s);
}

TEST_CASE("offload, completion, scope, stream and supervisor are named") {
  rt::worker_pool pool{{.threads = 1}};
  turnstile gate{pool};
  std::vector<rt::resolver<int>> kept;
  virtual_system world;
  auto source = world.spawn<fountain>();
  const auto run = [&](runner::body body) {
    auto r = world.spawn<runner>(std::move(body));
    world.advance(7s);
    const auto all = look_at(world, r);
    REQUIRE_FALSE(all.tasks.empty());
    REQUIRE(all.tasks[0].waits.size() == 1);
    CHECK(all.tasks[0].age == 7s);
    CHECK(all.tasks[0].waits[0].age == 7s);
    return all.tasks[0].waits[0].what;
  };
  CHECK(run([&](runner* self) -> rt::task<void> {
          co_await rt::offload(self, pool, [] {});
        }) == "work on a thread of a pool");
  CHECK(run([&](runner* self) -> rt::task<void> {
          co_await rt::completion<int>(
              self, [&](rt::resolver<int> done) { kept.push_back(std::move(done)); });
        }) == "a completion");
  CHECK(run([&](runner* self) -> rt::task<void> {
          rt::scope inner{self};
          inner.spawn([](runner* s) -> rt::task<void> { co_await rt::sleep(s, 1h); }(self));
          co_await inner.join();
        }) == "the tasks of a scope");
  const auto id = std::to_string(source.id());
  CHECK(run([&](runner* self) -> rt::task<void> {
          auto values = rt::subscribe(self, source, 1h, 3);
          while (co_await values.next()) {
          }
        }) == "a value of the stream of actor " + id);
  CHECK(run([&](runner* self) -> rt::task<void> {
          rt::supervisor children{self, {.backoff_first = 1h, .backoff_most = 1h}};
          children.add("none", []() -> caf::actor { return {}; });
          co_await children.up("none");
        }) == "a change among a supervisor's children");
}

TEST_CASE("a stream waits for room at its subscriber") {
  virtual_system world;
  auto source = world.spawn<fountain>();
  auto taker = world.spawn<runner>([&](runner* self) -> rt::task<void> {
    auto values = rt::subscribe(self, source, 1h, 1000, 4);
    co_await values.next();
    co_await rt::sleep(self, 1h);
  });
  world.advance(3s);
  const auto all = look_at(world, source);
  CHECK(all.name == "fountain");
  const auto task = only_task(all);
  CHECK_THAT(task.what, Contains("handler of int, asked by actor " + std::to_string(taker.id())));
  CHECK(task.waits[0].what == "room at whoever takes its values");
  CHECK(task.waits[0].age == 3s);
}

TEST_CASE("the parts of gathers, races and timeouts stand beneath the task that awaits them") {
  virtual_system world;
  auto r = world.spawn<runner>([&](runner* self) -> rt::task<void> {
    auto quick = [](runner* s) -> rt::task<void> { co_await rt::sleep(s, 1s); };
    auto slow = [](runner* s) -> rt::task<void> { co_await rt::sleep(s, 2h); };
    auto bounded = rt::timeout(self, 1h, slow(self));
    co_await rt::gather(quick(self), std::move(bounded), slow(self));
  });
  world.advance(10s);
  const auto all = look_at(world, r);
  REQUIRE(all.tasks.size() == 5);  // itself, the bounded with its two parts, the slow one
  CHECK(all.tasks[0].age == 10s);
  CHECK(all.tasks[0].waits[0].what == "2 parts of a gather or a race");
  CHECK(all.tasks[0].waits[0].age == 10s);
  const std::vector<std::size_t> depths{0, 1, 2, 2, 1};
  for (std::size_t i = 0; i < depths.size(); ++i) {
    CHECK(all.tasks[i].depth == depths[i]);
    CHECK(all.tasks[i].waits.size() == 1);
    CHECK(all.tasks[i].age == 10s);
  }
  CHECK(all.tasks[2].time_left == 1h - 10s);
  CHECK_FALSE(all.tasks[4].time_left);
}

TEST_CASE("looking changes neither deadlines nor answers, nor what a plain behavior gets") {
  class picky : public rt::co_actor<caf::actor> {
   public:
    picky(caf::actor_config& config, int* seen) : co_actor(config), seen_(seen) {
      set_default_handler(
          [this](caf::scheduled_actor*, caf::message_view&) -> caf::result<caf::message> {
            ++*seen_;
            return caf::sec::unexpected_message;
          });
    }
    caf::behavior make_behavior() override {
      return {[](int x) { return x; }};
    }
    int* seen_;
  };
  virtual_system world;
  int seen = 0;
  auto odd = world.spawn<picky>(&seen);
  auto p = world.spawn<porter>();
  base::errc code{};
  long at_ms = 0;
  world.spawn<runner>([&](runner* self) -> rt::task<void> {
    auto r = co_await rt::try_ask(self, p, 10s, hello{"x", 60'000});
    code = r.error().code;
    at_ms = world.elapsed().count();
  });
  for (int i = 0; i < 20; ++i) {
    look(world);
    world.advance(1s);
  }
  CHECK(code == base::errc::deadline_exceeded);
  CHECK(at_ms == 10'000);
  CHECK(seen == 0);
  CHECK(world.ask<int>(odd, 1s, 7).value() == 7);
}

TEST_CASE("an actor that has had no turn since is busy, one that had none at all is starting") {
  virtual_system world;
  auto p = world.spawn<porter>();
  {
    const auto all = rt::snapshot{world.actors()}.take();
    REQUIRE(all.size() == 1);
    CHECK(all[0].condition == actor_condition::starting);
    CHECK(all[0].id == p.id());
    CHECK(all[0].name.empty());
  }
  world.run();
  rt::snapshot early{world.actors()};
  CHECK_FALSE(early.wait(0s));
  REQUIRE(early.take().size() == 1);
  CHECK(early.take()[0].condition == actor_condition::busy);
  CHECK(early.take()[0].name == "dlls::tests::porter");
  CHECK_THAT(rt::to_text(early.take()), Contains("dlls::tests::porter  (busy)"));
  world.run();
  CHECK(early.take()[0].condition == actor_condition::answered);
}

TEST_CASE("nothing is listed after its end, asked before or not") {
  virtual_system world;
  auto p = world.spawn<porter>();
  auto q = world.spawn<porter>();
  world.run();
  CHECK(look(world).size() == 2);
  rt::snapshot between{world.actors()};
  world.kill(p);
  world.run();
  CHECK(between.wait(0s));
  const auto left = look(world);
  REQUIRE(left.size() == 1);  // the handle of p is still there
  CHECK(left[0].id == q.id());
  world.kill(q);
  world.run();
  CHECK(look(world).empty());
  CHECK(world.actors().registry().running() == 0);
}

TEST_CASE("two systems see their own actors only, and one that lists none shows none") {
  virtual_system a, b;
  const auto in_a = a.spawn<porter>();
  const auto in_b = b.spawn<porter>(), too = b.spawn<porter>();
  a.run();
  b.run();
  CHECK(look(a).size() == 1);
  CHECK(look(b).size() == 2);

  for (const bool listed : {false, true}) {
    caf::actor_system_config config;
    config.set("scheduler.max-threads", 2);
    if (listed) rt::list_actors(config);
    caf::actor_system own{config};
    auto p = own.spawn<porter>();
    CHECK(rt::inspect(own, {.within = 60s}).size() == (listed ? 1 : 0));
    caf::anon_send_exit(p, caf::exit_reason::kill);
  }
}

TEST_CASE("an actor that blocks its thread is busy, the others answer") {
  class blocker : public rt::co_actor<caf::actor> {
   public:
    blocker(caf::actor_config& config, std::promise<void>* begun, std::shared_future<void> end)
        : co_actor(config), begun_(begun), end_(std::move(end)) {}
    caf::behavior make_behavior() override {
      return {[this](int) {
        begun_->set_value();
        end_.wait();
      }};
    }

   private:
    std::promise<void>* begun_;
    std::shared_future<void> end_;
  };
  auto host = rt::make_system({.workers = 2});
  std::promise<void> begun, end;
  auto stuck = host->actors().spawn<blocker>(&begun, end.get_future().share());
  auto fine = host->actors().spawn<porter>();
  REQUIRE(rt::outside{host->actors()}.ask_wait(fine, 60s, hello{"x"}));  // it has begun
  CHECK(rt::inspect(host->actors(), {.within = 60s}).size() == 2);
  caf::anon_send(stuck, 1);
  begun.get_future().wait();
  rt::snapshot now{host->actors()};
  CHECK_FALSE(now.wait(50ms));
  const auto all = now.take();
  end.set_value();
  CHECK(now.wait(60s));
  CHECK(all[0].id == stuck.id());
  CHECK(all[0].condition == actor_condition::busy);
  CHECK(now.take()[0].condition == actor_condition::answered);
  CHECK(now.take()[1].condition == actor_condition::answered);
  caf::anon_send_exit(stuck, caf::exit_reason::kill);
  caf::anon_send_exit(fine, caf::exit_reason::kill);
}

TEST_CASE("thousands of tasks are shown up to a limit and counted beyond") {
  virtual_system world;
  auto r = world.spawn<runner>([&](runner* self) -> rt::task<void> {
    for (int i = 0; i < 5000; ++i)
      self->tasks().spawn([](runner* s) -> rt::task<void> { co_await rt::sleep(s, 1h); }(self));
    co_await rt::sleep(self, 1h);
  });
  world.advance(1s);
  auto all = look(world);
  REQUIRE(all.size() == 1);
  CHECK(all[0].tasks.size() == 1000);
  CHECK(all[0].tasks_left_out == 4001);
  CHECK_THAT(rt::to_text(all), Contains("1 actors, 5001 tasks") && Contains("and 4001 more"));
  all = look(world, 10'000);
  CHECK(all[0].tasks.size() == 5001);
  for (const auto& task : all[0].tasks) {
    REQUIRE(task.waits.size() == 1);
    REQUIRE(task.waits[0].age == 1s);
  }
}

TEST_CASE("the JSON has every number where it belongs") {
  rt::actor_view odd;
  odd.id = 3;
  odd.name = "a \"b\" \\ \n";
  odd.condition = actor_condition::answered;
  rt::task_view task;
  task.what = "t";
  task.age = 1500ms;
  task.waits.push_back({"w", 250us});
  odd.tasks.push_back(task);
  const std::string one =
      R"({"id":3,"name":"a \"b\" \\ \u000a","condition":"answered","tasks":[{"what":"t","depth":0,)"
      R"("age_ms":1500.000,"left_ms":null,"waits":[{"what":"w","age_ms":0.250}]}],)"
      R"("tasks_left_out":0})";
  CHECK(rt::to_json({odd, odd}) == R"({"actors":[)" + one + "," + one + "]}");
  CHECK(rt::to_json({}) == R"({"actors":[]})");
}

TEST_CASE("actors come and go on several threads while somebody looks") {
  auto host = rt::make_system({.workers = 3});
  std::atomic<bool> over{false};
  auto looking = std::async(std::launch::async, [&] {
    std::size_t most = 0;
    while (!over) most = std::max(most, rt::inspect(host->actors(), {.within = 60s}).size());
    return most;
  });
  rt::outside out{host->actors()};
  for (int i = 0; i < 3000; ++i) {
    auto p = host->actors().spawn<porter>();
    if (i % 3 == 0) CHECK(out.ask_wait(p, 60s, hello{"x"}));
    if (i % 3 == 1) caf::anon_send_exit(p, caf::exit_reason::kill);
  }
  over = true;
  looking.get();
  host->actors().await_all_actors_done();
  CHECK(rt::inspect(host->actors()).empty());
}

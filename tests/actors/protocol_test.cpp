// The protocol between coordinator and node over links that end at the worst moments. A failing
// seed is printed; DLLS_SEED=n replays it.
#include <boost/json.hpp>
#include <catch2/catch.hpp>

#include "base/sha256.hpp"
#include "tests/actors/protocol_world.hpp"
#include "tests/support/catch_result.hpp"

using namespace dlls;
using namespace dlls::tests;
using namespace std::chrono_literals;
using ledger::job_state;

namespace {

const std::string content = "hello";

// The job stays cancelled, the node forgets it and is free for the next.
void stays_cancelled(world& w, node_process& home, const std::string& id) {
  CHECK(w.state(id) == job_state::cancelled);
  CHECK_FALSE(w.cancel(id));
  w.find_again();
  if (home.gate) w.let_work(home);
  const bool forgotten = w.until([&] { return home.held() == 0; }, 20min);
  CHECK(forgotten);
  w.advance(20min);
  CHECK(w.state(id) == job_state::cancelled);
  CHECK(w.count_events(id, "picked up") == 0);
  // The node is free for the next.
  const auto next = w.submit({"next"});
  REQUIRE(until_state(w, next, job_state::fetched));
  fetched_once(w, next, {"next"});
}

}  // namespace

TEST_CASE("a job goes from submit to fetched, and a release empties the node") {
  world w{seed_or(1)};
  auto& home = w.add_node("home");
  const std::vector<std::string> inputs{content, "", std::string(300'000, 'x')};
  const auto id = w.submit(inputs);
  REQUIRE(until_state(w, id, job_state::fetched));
  fetched_once(w, id, inputs);
  CHECK(w.job(id).fence == 1);
  CHECK(w.job(id).node == "home");
  CHECK(home.held() == 1);  // kept until it is released
  const auto released = w.release(id);
  REQUIRE(released);
  CHECK(released->state == job_state::released);
  w.settle();
  CHECK(home.held() == 0);
  CHECK(home.services.artifacts->list().value().empty());
  CHECK(w.release(id).value().state == job_state::released);  // again: the same answer
  CHECK_FALSE(w.cancel(id));
}

TEST_CASE("a link cut at any message of a job costs time and nothing else") {
  struct cut {
    std::string at;
    std::uint64_t fence;  // of the end: whether the cut cost a grant
  };
  // Before the acknowledgement stands on the node's disk a new grant is needed, after it never.
  const std::vector<cut> cuts{
      {"offer", 2},          {"fetch_input", 2},   {"fetch_input answered", 2},
      {"offer answered", 1}, {"ready", 1},         {"ready answered", 1},
      {"pull", 1},           {"pull answered", 1}, {"hello", 1},
      {"hello answered", 1}};
  const std::vector<std::string> inputs{content, std::string(200'000, 'y')};
  for (const auto& one : cuts) {
    for (const auto away : {0ms, 5'000ms, 45'000ms}) {
      world w{seed_or(2)};
      CAPTURE(one.at, away.count(), w.system().seed());
      if (one.at.starts_with("hello")) w.cut_at(one.at, away);
      w.add_node("home");
      if (!w.cut_happened() || !one.at.starts_with("hello")) w.cut_at(one.at, away);
      const auto id = w.submit(inputs);
      REQUIRE(until_state(w, id, job_state::fetched));
      CHECK(w.cut_happened());
      fetched_once(w, id, inputs);
      CHECK(w.job(id).fence == one.fence);
      CHECK(w.job(id).attempt == one.fence);
    }
  }
}

TEST_CASE("a node that is away while it works keeps its job, and comes back with the result") {
  world w{seed_or(3)};
  auto& home = w.add_node("home");
  w.hold_work(home);
  const auto id = w.submit({content});
  REQUIRE(until_state(w, id, job_state::running));
  const auto before = w.passed("fetch_input") + w.passed("ready");
  w.cut(home, 5min);
  REQUIRE(until_state(w, id, job_state::lost_contact));
  CHECK(w.until([&] { return w.state(id) == job_state::running; }, 8min));  // the same grant
  CHECK(w.job(id).fence == 1);
  w.cut(home, 3min);
  REQUIRE(until_state(w, id, job_state::lost_contact));
  w.let_work(home);  // it ends while the node is away
  REQUIRE(until_state(w, id, job_state::fetched));
  fetched_once(w, id, {content});
  CHECK(w.job(id).fence == 1);
  CHECK(w.passed("fetch_input") + w.passed("ready") == before + 1);

  // Much longer than the grace period, and nobody else is there: it waits for its holder.
  w.hold_work(home);
  const auto second = w.submit({content, content});
  REQUIRE(until_state(w, second, job_state::running));
  w.cut(home, 12h);
  w.let_work(home);
  w.advance(11h);
  CHECK(w.state(second) == job_state::lost_contact);
  REQUIRE(until_state(w, second, job_state::fetched));
  CHECK(w.job(second).fence == 1);
}

TEST_CASE("a node goes on from its spool, whatever it was doing when its process died") {
  world w{seed_or(4)};
  auto& home = w.add_node("home");
  SECTION("working") {
    w.hold_work(home);
    const auto id = w.submit({content});
    REQUIRE(until_state(w, id, job_state::running));
    w.stop_node(home);
    w.let_work(home);
    REQUIRE(until_state(w, id, job_state::lost_contact));
    w.start_node(home);
    REQUIRE(until_state(w, id, job_state::fetched));
    fetched_once(w, id, {content});
    CHECK(w.job(id).fence == 1);
  }
  SECTION("with a result that nobody has heard of") {
    w.lose("ready");
    const auto id = w.submit({content});
    REQUIRE(w.until([&] {
      const auto held = home.services.jobs->load().value();
      return held.size() == 1 && held[0].state == actors::held_state::sealed;
    }));
    CHECK(w.state(id) == job_state::running);
    w.stop_node(home);
    w.find_again();
    w.advance(1min);
    w.start_node(home);
    REQUIRE(until_state(w, id, job_state::fetched));
    fetched_once(w, id, {content});
    CHECK(w.job(id).fence == 1);
  }
  SECTION("with a result that is being picked up") {
    w.lose("pull");
    const auto id = w.submit({content});
    REQUIRE(until_state(w, id, job_state::ready));
    w.stop_node(home);
    w.find_again();
    w.start_node(home);
    REQUIRE(until_state(w, id, job_state::fetched));
    fetched_once(w, id, {content});
  }
  SECTION("with its disk gone") {
    w.lose("pull");
    const auto ready = w.submit({content});
    REQUIRE(until_state(w, ready, job_state::ready));
    w.hold_work(home);
    const auto running = w.submit({content});
    REQUIRE(until_state(w, running, job_state::running));
    w.stop_node(home);
    w.let_work(home);
    w.find_again();
    w.settle();
    for (const auto& id : {ready, running}) REQUIRE(home.services.jobs->remove(id));
    w.start_node(home);
    REQUIRE(until_state(w, running, job_state::fetched));
    CHECK(w.job(running).fence == 2);
    fetched_once(w, running, {content});
    CHECK(w.state(ready) == job_state::failed);
    CHECK(w.job(ready).error_code == "result_lost");
  }
}

TEST_CASE("after a restart a node works jobs off in the order of their acknowledgement") {
  world w{seed_or(11)};
  auto& home = w.add_node("home");
  for (int round = 0; round < 5; ++round) {  // ids are random: one round alone may pass by chance
    w.hold_work(home);
    std::vector<std::string> ids;  // as many as a node holds at a time
    for (const auto* name : {"first", "second"}) {
      ids.push_back(w.submit({content, name + std::to_string(round)}));
      REQUIRE(until_state(w, ids.back(), job_state::running));
    }
    w.stop_node(home);
    w.let_work(home);
    w.start_node(home);
    std::vector<std::int64_t> ready_at;
    for (const auto& id : ids) {
      REQUIRE(until_state(w, id, job_state::fetched));
      for (const auto& one : w.events(id))
        if (one.message == "ready on the node") ready_at.push_back(one.id);
    }
    REQUIRE(ready_at.size() == 2);
    CHECK(ready_at[0] < ready_at[1]);
  }
}

TEST_CASE("the cloud keeps what the ledger names and sweeps the rest once it is left alone") {
  actors::coordinator_timing timing;
  timing.retention = 3h;
  world w{seed_or(12), timing};
  w.add_node("home");
  const auto id = w.submit({content});
  REQUIRE(until_state(w, id, job_state::fetched));
  const auto files = [&] { return w.cloud_artifacts().list().value().size(); };
  const auto all = files();
  CHECK(all >= 2);  // the input and the picked up sum
  w.advance(90min);
  CHECK(files() == all);  // the input has no file any more, but it was touched just now
  for (const auto& one : std::filesystem::directory_iterator(w.folder() / "cloud" / "blobs"))
    std::filesystem::last_write_time(one, one.last_write_time() - 2h);
  w.advance(1h);
  CHECK_FALSE(w.picked_up_sum(id).empty());
  CHECK(files() < all);
  w.advance(9h);  // released after three hours, forgotten three hours later
  CHECK(files() == 0);
}

TEST_CASE("a job that no node takes in time expires, and its owner is told") {
  actors::coordinator_timing timing;
  timing.waiting = 3h;
  world w{seed_or(13), timing};
  const auto id = w.submit({content});
  w.advance(2h);
  CHECK(w.state(id) == job_state::queued);
  w.advance(2h);
  CHECK(w.state(id) == job_state::expired);
  CHECK(w.job(id).error_code == "expired");
  CHECK(w.webhooks().size() == 1);
  w.add_node("home");
  w.advance(1h);
  CHECK(w.state(id) == job_state::expired);
}

TEST_CASE("a coordinator goes on from its ledger, whatever its jobs were doing when it died") {
  world w{seed_or(5)};
  const auto early = w.submit({content});  // nobody to do it
  w.settle();
  CHECK(w.state(early) == job_state::queued);
  w.stop_coordinator();
  w.start_coordinator();
  w.lose("pull");
  auto& home = w.add_node("home");
  REQUIRE(until_state(w, early, job_state::ready));
  w.hold_work(home);
  const auto running = w.submit({content, "running"});
  REQUIRE(until_state(w, running, job_state::running));
  w.stop_coordinator();
  SECTION("and the node comes back at once") { w.start_coordinator(); }
  SECTION("and the node is back only after the grace period") {
    home.no_link_until = w.system().elapsed() + 2h;
    w.start_coordinator();
    REQUIRE(until_state(w, running, job_state::lost_contact));
    w.advance(1h);
  }
  SECTION("and it dies again before it has spoken to anybody") {
    for (int i = 0; i < 3; ++i) {
      w.start_coordinator();
      w.stop_coordinator();
    }
    w.start_coordinator();
  }
  w.find_again();
  w.let_work(home);
  REQUIRE(until_state(w, early, job_state::fetched));
  REQUIRE(until_state(w, running, job_state::fetched));
  fetched_once(w, early, {content});
  fetched_once(w, running, {content, "running"});
  CHECK(w.job(early).fence == 1);
  CHECK(w.job(running).fence == 1);
}

TEST_CASE("a cancel ends a job in every state, and the node forgets it") {
  world w{seed_or(6)};
  std::string id;
  node_process* home = nullptr;
  SECTION("queued") {
    id = w.submit({content});
    w.settle();
    CHECK(w.state(id) == job_state::queued);
    REQUIRE(w.cancel(id));
    home = &w.add_node("home");
  }
  SECTION("offered, the offer on its way") {
    home = &w.add_node("home");
    w.lose("offer");
    id = w.submit({content});
    REQUIRE(until_state(w, id, job_state::offered));
    REQUIRE(w.cancel(id));
  }
  SECTION("offered, the inputs on their way") {
    home = &w.add_node("home");
    w.lose("fetch_input");
    id = w.submit({content});
    REQUIRE(w.until([&] { return w.passed("offer") == 1; }));
    CHECK(w.state(id) == job_state::offered);
    REQUIRE(w.cancel(id));
    w.find_again();
    w.cut(*home, 0ms);
  }
  SECTION("running") {
    home = &w.add_node("home");
    w.hold_work(*home);
    id = w.submit({content});
    REQUIRE(until_state(w, id, job_state::running));
    REQUIRE(w.cancel(id));
    w.settle();
    CHECK(home->held() == 0);
  }
  SECTION("running, and the node does not hear it") {
    home = &w.add_node("home");
    w.hold_work(*home);
    w.lose("cancel");
    id = w.submit({content});
    REQUIRE(until_state(w, id, job_state::running));
    REQUIRE(w.cancel(id));
    CHECK(home->held() == 1);
  }
  SECTION("lost contact") {
    home = &w.add_node("home");
    w.hold_work(*home);
    id = w.submit({content});
    REQUIRE(until_state(w, id, job_state::running));
    w.cut(*home, 5min);
    REQUIRE(until_state(w, id, job_state::lost_contact));
    REQUIRE(w.cancel(id));
    CHECK(home->held() == 1);
  }
  SECTION("ready") {
    home = &w.add_node("home");
    w.lose("pull");
    id = w.submit({content});
    REQUIRE(until_state(w, id, job_state::ready));
    REQUIRE(w.cancel(id));
  }
  stays_cancelled(w, *home, id);
}

TEST_CASE(
    "after the grace period another node gets the job, and the first one's late word is dropped") {
  world w{seed_or(7)};
  auto& first = w.add_node("first");
  w.hold_work(first);
  const auto id = w.submit({content});
  REQUIRE(until_state(w, id, job_state::running));
  REQUIRE(w.job(id).node == "first");
  auto& second = w.add_node("second");
  w.hold_work(second);
  w.cut(first, 30min);
  w.advance(9min);
  CHECK(w.state(id) == job_state::lost_contact);  // the lease still holds
  w.advance(2min);
  REQUIRE(until_state(w, id, job_state::running));
  CHECK(w.job(id).node == "second");
  CHECK(w.job(id).fence == 2);
  CHECK(w.job(id).attempt == 2);
  SECTION("it ends first, and says so before it has heard of the grant") {
    w.let_work(first);
    w.settle();
    CHECK(first.services.jobs->load().value().at(0).state == actors::held_state::sealed);
    const bool forgotten = w.until([&] { return first.held() == 0; }, 2h);
    CHECK(forgotten);
    CHECK(w.state(id) == job_state::running);
    CHECK(w.count_events(id, "ready on the node") == 0);
    w.let_work(second);
  }
  SECTION("it ends last") {
    w.let_work(second);
    REQUIRE(until_state(w, id, job_state::fetched));
    w.let_work(first);
    const bool forgotten = w.until([&] { return first.held() == 0; }, 2h);
    CHECK(forgotten);
  }
  REQUIRE(until_state(w, id, job_state::fetched));
  w.advance(1h);
  fetched_once(w, id, {content});
  CHECK(w.job(id).node == "second");
  CHECK(second.held() == 1);
}

TEST_CASE("a word under a stale fence is dropped at the door's other side, whoever says it") {
  world w{seed_or(8)};
  auto& home = w.add_node("home");
  w.hold_work(home);
  const auto id = w.submit({content});
  REQUIRE(until_state(w, id, job_state::running));
  const auto say = [&](auto message) { return w.say(home, std::move(message)); };
  for (const auto& [attempt, fence] :
       std::vector<std::pair<std::uint32_t, std::uint64_t>>{{0, 0}, {2, 1}, {1, 2}, {9, 9}}) {
    actors::ready word;
    word.job = {id, attempt, fence};
    const auto answer = say(word);
    REQUIRE(answer);
    CHECK(answer->drop);
    actors::failed bad;
    bad.job = word.job;
    bad.message = "no";
    CHECK(say(bad).value().drop);
  }
  actors::ready unknown;
  unknown.job = {"job-nobody-knows", 1, 1};
  CHECK(say(unknown).value().drop);
  CHECK(w.state(id) == job_state::running);
  w.let_work(home);
  REQUIRE(until_state(w, id, job_state::fetched));
  fetched_once(w, id, {content});
}

TEST_CASE("a node that answers nothing past the deadline is lost contact, until it answers again") {
  world w{seed_or(9)};
  auto& home = w.add_node("home");
  w.hold_work(home);
  const auto id = w.submit({content});
  REQUIRE(until_state(w, id, job_state::running));
  w.advance(90min);  // asked once, and answered
  CHECK(w.passed("status answered") == 1);
  CHECK(w.state(id) == job_state::running);
  w.tell_progress(home, id, 400);
  w.advance(31min);  // asked again at 120 min
  CHECK(w.passed("status answered") == 2);
  w.advance(18min);  // not before three times 400 s
  CHECK(w.passed("status answered") == 2);
  w.advance(2min);
  CHECK(w.passed("status answered") == 3);
  w.tell_progress(home, id, 1e300);
  w.advance(20min);
  CHECK(w.passed("status answered") == 4);
  w.advance(5h + 55min);
  CHECK(w.passed("status answered") == 4);
  CHECK(w.state(id) == job_state::running);
  w.lose("status");
  w.advance(20min);
  CHECK(w.state(id) == job_state::lost_contact);
  SECTION("it answers again") {
    w.find_again();
    REQUIRE(until_state(w, id, job_state::running));
    CHECK(w.job(id).fence == 1);
    w.let_work(home);
  }
  SECTION("its result comes while it is lost") {
    w.advance(3h);
    CHECK(w.state(id) == job_state::lost_contact);
    w.let_work(home);
  }
  SECTION("another node is there") {
    auto& other = w.add_node("other");
    REQUIRE(until_state(w, id, job_state::fetched));
    CHECK(w.job(id).node == "other");
    CHECK(w.job(id).fence == 2);
    CHECK(other.held() == 1);
    w.let_work(home);
  }
  REQUIRE(until_state(w, id, job_state::fetched));
  w.advance(1h);
  fetched_once(w, id, {content});
}

TEST_CASE("an offer that is never acknowledged is made again on the same link") {
  world w{seed_or(10)};
  w.add_node("home");
  w.lose("offer answered");
  const auto id = w.submit({content});
  REQUIRE(w.until([&] { return w.state(id) != job_state::submitted; }));
  w.advance(5min);
  w.find_again();
  REQUIRE(until_state(w, id, job_state::fetched));
  fetched_once(w, id, {content});
}

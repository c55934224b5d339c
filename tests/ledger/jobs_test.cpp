#include <atomic>
#include <catch2/catch.hpp>
#include <set>
#include <thread>

#include "ledger_fixture.hpp"

using namespace dlls::ledger;
using dlls::base::errc;

TEST_CASE("a submitted job is there after the ledger is opened again") {
  ledger_fixture f;
  auto given = a_job(R"({"file":"file-1"})");
  given.idempotency_key = "k";
  given.model_in = "base";
  given.deadline_ms = 42;
  const auto j = f.submit(given)->job;
  f.reopen();
  const auto found = f.find(j.id).value();
  CHECK(found.state == job_state::submitted);
  CHECK(found.owner == "org");
  CHECK(found.kind == "checksum");
  CHECK(found.spec_json == given.spec_json);
  CHECK(found.idempotency_key == "k");
  CHECK(found.model_in == "base");
  CHECK(found.deadline_ms == 42);
  CHECK(found.created_ms == f.clock.wall().count());
  CHECK(f.events(j.id)->items.size() == 1);
}

TEST_CASE("the same key and body give the same job, another body is refused") {
  ledger_fixture f;
  auto j = a_job();
  j.idempotency_key = "k1";
  const auto first = f.submit(j).value();
  CHECK_FALSE(first.existed);
  const auto again = f.submit(j).value();
  CHECK(again.existed);
  CHECK(again.job.id == first.job.id);

  auto other = j;
  other.spec_json = R"({"n":2})";
  CHECK(f.submit(other).error().code == errc::already_exists);
  auto kind = j;
  kind.kind = "fine_tune";
  CHECK(f.submit(kind).error().code == errc::already_exists);
  auto owner = j;
  owner.owner = "another";
  CHECK_FALSE(f.submit(owner)->existed);

  // What the server chose may differ when the client's own words are given.
  auto chosen = a_job(R"({"seed":7})");
  chosen.idempotency_key = "k2";
  chosen.canonical_body = R"({"model":"m"})";
  REQUIRE_FALSE(f.submit(chosen)->existed);
  chosen.spec_json = R"({"seed":8})";
  CHECK(f.submit(chosen)->existed);
}

TEST_CASE("sixty-four threads that race with one key get one job") {
  ledger_fixture f;
  for (int round = 0; round < 20; ++round) {
    std::vector<std::thread> racers;
    std::vector<dlls::base::result<submission>> answers(64, submission{});
    for (auto& answer : answers)
      racers.emplace_back([&f, &answer, round] {
        auto j = a_job();
        j.idempotency_key = "key-" + std::to_string(round);
        answer = f.submit(j);
      });
    for (auto& r : racers) r.join();
    std::set<std::string> ids;
    int made = 0;
    for (const auto& a : answers) {
      REQUIRE(a);
      ids.insert(a->job.id);
      made += !a->existed;
    }
    CHECK(ids.size() == 1);
    CHECK(made == 1);
  }
  CHECK(f.list({})->items.size() == 20);
}

TEST_CASE("what queues up behind one commit shares the next") {
  ledger_fixture f;
  std::promise<void> open_gate;
  std::promise<void> at_gate;
  f.l->find_job(any_owner, "none", [&](auto) {
    at_gate.set_value();
    open_gate.get_future().wait();  // holds the writer, so that the others must queue
  });
  at_gate.get_future().wait();
  const auto before = f.l->stats().commits;
  constexpr int submits = 600;
  std::atomic<int> answered = 0, refused = 0;
  std::promise<void> all;
  for (int i = 0; i < submits; ++i)
    f.l->submit(a_job(), [&](auto r) {
      refused += !r;
      if (++answered == submits) all.set_value();
    });
  CHECK(f.l->stats().queued == submits);
  open_gate.set_value();
  all.get_future().wait();
  CHECK(refused == 0);
  CHECK(f.l->stats().batch_max == 256);
  CHECK(f.l->stats().commits - before == 3);  // 256 + 256 + 88
}

TEST_CASE("one refused operation takes nobody else of its batch along") {
  ledger_fixture f;
  std::promise<void> open_gate, at_gate, last;
  f.l->find_job(any_owner, "none", [&](auto) {
    at_gate.set_value();
    open_gate.get_future().wait();
  });
  at_gate.get_future().wait();
  auto named = a_job();
  named.id = "job-same";
  std::vector<errc> outcomes;
  const auto note = [&](auto r) { outcomes.push_back(r ? errc::ok : r.error().code); };
  f.l->submit(named, note);
  f.l->submit(named, note);
  f.l->grant("job-none", "home", std::nullopt, note);
  f.l->submit(a_job(), [&](auto r) {
    note(r);
    last.set_value();
  });
  open_gate.set_value();
  last.get_future().wait();
  CHECK(outcomes == std::vector{errc::ok, errc::already_exists, errc::not_found, errc::ok});
  CHECK(f.list({})->items.size() == 2);
}

TEST_CASE("an edge, its event and its webhook are written together or not at all") {
  ledger_fixture f;
  const auto j = f.job_in(job_state::running);
  edge ready{j.id, job_state::running, job_state::ready};
  ready.event = new_event{"the model is ready"};
  ready.outbox = new_outbox_row{"evt_1", "fine_tuning.job.succeeded", R"({"id":"x"})"};
  REQUIRE(f.advance(ready));
  CHECK(f.events(j.id)->items.back().message == "the model is ready");
  CHECK(f.claim()->size() == 1);

  // The same webhook id makes the edge fail after its UPDATE; nothing of it may stay.
  const auto other = f.job_in(job_state::running);
  const auto events = f.events(other.id)->items.size();
  edge clash{other.id, job_state::running, job_state::ready};
  clash.outbox = ready.outbox;
  CHECK(f.advance(clash).error().code == errc::already_exists);
  CHECK(f.find(other.id)->state == job_state::running);
  CHECK(f.events(other.id)->items.size() == events);
}

TEST_CASE("lists are filtered, ordered, and paged without loss") {
  ledger_fixture f;
  std::vector<std::string> ids;
  for (int i = 0; i < 7; ++i) {
    auto j = a_job();
    j.kind = i % 2 ? "fine_tune" : "checksum";
    j.owner = i < 5 ? "a" : "b";
    ids.push_back(f.submit(j)->job.id);
  }
  REQUIRE(f.advance(ids[1], job_state::submitted, job_state::queued));
  job_filter all;
  all.limit = 3;
  all.order = order::oldest_first;
  std::vector<std::string> seen;
  for (bool more = true; more;) {
    const auto p = f.list(all).value();
    for (const auto& j : p.items) seen.push_back(j.id);
    all.after = seen.back();
    more = p.has_more;
  }
  CHECK(seen == ids);

  job_filter some;
  some.owner = "a";
  some.kinds = {"fine_tune"};
  CHECK(f.list(some)->items.size() == 2);
  CHECK(f.list(some)->items.front().id == ids[3]);
  some.states = job_state::queued;
  CHECK(f.list(some)->items.front().id == ids[1]);
  some.after = ids[6];  // another owner's
  CHECK(f.list(some).error().code == errc::not_found);
  some.limit = 0;
  CHECK(f.list(some).error().code == errc::invalid_argument);
}

TEST_CASE("a page of large jobs ends early instead of filling the memory") {
  ledger_fixture f;
  for (int i = 0; i < 8; ++i) REQUIRE(f.submit(a_job(std::string(limits::json_bytes_max, 'x'))));
  job_filter all;
  const auto first = f.list(all).value();
  CHECK(first.items.size() == 4);
  CHECK(first.has_more);
}

TEST_CASE("progress lines are kept in order, up to a limit that the edges' own pass") {
  ledger_fixture f;
  const auto j = f.job_in(job_state::running);
  std::promise<dlls::base::result<event>> last;
  for (std::int64_t i = 0; i < limits::events_per_job_max; ++i) {
    auto line = new_event{"step " + std::to_string(i)};
    line.type = "metrics";
    line.data_json = R"({"loss":1.5})";
    f.l->add_event(j.id, j.fence, line, [&, i](auto r) {
      if (i + 1 == limits::events_per_job_max) last.set_value(std::move(r));
    });
    while (f.l->stats().queued > 4000) std::this_thread::yield();
  }
  CHECK(last.get_future().get().error().code == errc::resource_exhausted);
  CHECK(f.advance(j.id, job_state::running, job_state::ready));

  const auto p = wait_for<page<event>>(
      [&](auto done) { f.l->events(any_owner, j.id, 0, 2, order::newest_first, done); });
  REQUIRE(p->items.size() == 2);
  CHECK(p->has_more);
  CHECK(p->items[0].message == "ready");
  CHECK(p->items[1].type == "metrics");
  const auto next = wait_for<page<event>>([&](auto done) {
    f.l->events(any_owner, j.id, p->items[1].id, 1, order::newest_first, done);
  });
  CHECK(next->items[0].id < p->items[1].id);
}

TEST_CASE("what ended long ago is forgotten, what lives stays") {
  ledger_fixture f;
  const auto ended = f.job_in(job_state::cancelled);
  const auto open = f.job_in(job_state::running);
  const auto forget = [&] {
    return wait_for<std::uint64_t>(
        [&](auto done) { f.l->forget(f.clock.wall().count(), 100, done); });
  };
  CHECK(forget().value() == 0);
  f.clock.advance(std::chrono::hours{1});
  CHECK(forget().value() == 1);
  CHECK(f.find(ended.id).error().code == errc::not_found);
  CHECK(f.find(open.id));
}

TEST_CASE("fields without sense or beyond their limits are refused before anything is queued") {
  ledger_fixture f;
  auto j = a_job();
  j.owner.clear();
  CHECK(f.submit(j).error().code == errc::invalid_argument);
  j = a_job(std::string(limits::json_bytes_max + 1, 'x'));
  CHECK(f.submit(j).error().code == errc::invalid_argument);
  j = a_job("\xff\xfe");
  CHECK(f.submit(j).error().code == errc::invalid_argument);
  j = a_job(std::string{"{\0}", 3});
  CHECK(f.submit(j).error().code == errc::invalid_argument);
  j = a_job();
  j.idempotency_key = std::string(300, 'k');
  CHECK(f.submit(j).error().code == errc::invalid_argument);
  j = a_job();
  j.inputs = {"../../etc/passwd"};
  CHECK(f.submit(j).error().code == errc::invalid_argument);
  CHECK(f.l->stats().operations == 0);
}

TEST_CASE("a key finds the job that it made, by the same owner and body") {
  ledger_fixture f;
  auto j = a_job();
  j.idempotency_key = "k1";
  const auto find = [&](const new_job& like) {
    return wait_for<job>([&](auto done) { f.l->find_submitted(like, done); });
  };
  CHECK(find(j).error().code == errc::not_found);
  const auto made = f.submit(j).value().job;
  CHECK(find(j).value().id == made.id);
  auto other = j;
  other.spec_json = R"({"n":2})";
  CHECK(find(other).error().code == errc::already_exists);
  other = j;
  other.owner = "another";
  CHECK(find(other).error().code == errc::not_found);
  other = j;
  other.idempotency_key = "k2";
  CHECK(find(other).error().code == errc::not_found);
  other.idempotency_key.clear();
  CHECK(find(other).error().code == errc::invalid_argument);
}

#include <catch2/catch.hpp>
#include <set>

#include "ledger_fixture.hpp"

using namespace dlls::ledger;
using dlls::base::errc;

namespace {

// The table as the design gives it, written a second time by hand.
const std::set<std::pair<std::string, std::string>> designed{
    {"submitted", "queued"},       {"submitted", "failed"},     {"submitted", "cancelled"},
    {"submitted", "expired"},      {"queued", "failed"},        {"queued", "cancelled"},
    {"queued", "expired"},         {"offered", "running"},      {"offered", "queued"},
    {"offered", "failed"},         {"offered", "cancelled"},    {"offered", "expired"},
    {"running", "ready"},          {"running", "failed"},       {"running", "cancelled"},
    {"running", "expired"},        {"lost_contact", "ready"},   {"lost_contact", "failed"},
    {"lost_contact", "cancelled"}, {"lost_contact", "expired"}, {"ready", "fetched"},
    {"ready", "failed"},           {"ready", "cancelled"},      {"ready", "expired"},
    {"fetched", "released"}};

job_state state(std::size_t i) { return static_cast<job_state>(i); }

}  // namespace

TEST_CASE("every state has a name that reads back") {
  for (std::size_t i = 0; i < job_state_count; ++i)
    CHECK(parse_job_state(name(state(i))) == state(i));
  CHECK_FALSE(parse_job_state("leased"));
}

TEST_CASE("of all pairs of states, advance walks the designed edges and no other") {
  ledger_fixture f;
  for (std::size_t from = 0; from < job_state_count; ++from) {
    for (std::size_t to = 0; to < job_state_count; ++to) {
      const auto before = f.job_in(state(from));
      INFO(name(state(from)) << " -> " << name(state(to)));
      const auto events_before = f.events(before.id)->items.size();
      const auto after = f.advance(before.id, state(from), state(to));
      const bool legal =
          designed.contains({std::string{name(state(from))}, std::string{name(state(to))}});
      if (legal) {
        REQUIRE(after);
        CHECK(after->state == state(to));
        CHECK(after->fence == before.fence);
        CHECK(f.events(before.id)->items.size() == events_before + 1);
      } else {
        REQUIRE_FALSE(after);
        CHECK(after.error().code == errc::failed_precondition);
        CHECK(f.find(before.id)->state == state(from));
        CHECK(f.events(before.id)->items.size() == events_before);
      }
    }
  }
  CHECK(f.l->stats().refused_edges == job_state_count * job_state_count - designed.size());
}

TEST_CASE("only a queued or a lost job can be granted, and each grant raises attempt and fence") {
  ledger_fixture f;
  for (std::size_t i = 0; i < job_state_count; ++i) {
    const auto before = f.job_in(state(i));
    INFO(name(state(i)));
    const auto after = f.grant(before.id, "other");
    if (state(i) == job_state::queued || state(i) == job_state::lost_contact) {
      REQUIRE(after);
      CHECK(after->state == job_state::offered);
      CHECK(after->fence == before.fence + 1);
      CHECK(after->attempt == before.attempt + 1);
      CHECK(after->node == "other");
      CHECK_FALSE(after->paused_from);
    } else {
      REQUIRE_FALSE(after);
      CHECK(after.error().code == errc::failed_precondition);
    }
  }
}

TEST_CASE("no edge leaves a final state") {
  for (const auto& e : legal_edges) CHECK_FALSE(is_final(e.from));
}

TEST_CASE("the word of an older fence is stale, one from the future is refused") {
  ledger_fixture f;
  const auto first = f.job_in(job_state::running);
  REQUIRE(f.pause()->size() == 1);
  const auto again = f.grant(first.id, "other").value();
  REQUIRE(again.fence == 2);

  edge ready{first.id, {job_state::offered, job_state::running}, job_state::ready};
  ready.fence = first.fence;
  CHECK(f.advance(ready).error().code == errc::stale);
  ready.fence = 3;
  CHECK(f.advance(ready).error().code == errc::failed_precondition);

  edge line{first.id, job_state::offered, job_state::running};
  line.fence = 2;
  CHECK(f.advance(line)->state == job_state::running);
  const auto stale_line =
      wait_for<event>([&](auto done) { f.l->add_event(first.id, 1, new_event{"step 1"}, done); });
  CHECK(stale_line.error().code == errc::stale);
}

TEST_CASE("a node speaks only for the jobs that it holds") {
  ledger_fixture f;
  const auto j = f.job_in(job_state::running);
  edge ready{j.id, job_state::running, job_state::ready};
  ready.fence = j.fence;
  ready.node = "intruder";
  CHECK(f.advance(ready).error().code == errc::permission_denied);
  ready.node = "home";
  CHECK(f.advance(ready)->state == job_state::ready);
}

TEST_CASE("another owner's job can neither be seen nor moved") {
  ledger_fixture f;
  const auto j = f.job_in(job_state::queued);
  CHECK(f.find(j.id, "stranger").error().code == errc::not_found);
  edge cancel{j.id, job_state::queued, job_state::cancelled};
  cancel.owner = "stranger";
  CHECK(f.advance(cancel).error().code == errc::not_found);
  const auto events = wait_for<page<event>>(
      [&](auto done) { f.l->events("stranger", j.id, 0, 10, order::oldest_first, done); });
  CHECK(events.error().code == errc::not_found);
}

TEST_CASE("a lost link pauses what the node holds and its return resumes it unchanged") {
  ledger_fixture f;
  const auto offered = f.job_in(job_state::offered);
  const auto running = f.job_in(job_state::running);
  const auto ready = f.job_in(job_state::ready);
  const auto paused = f.pause().value();
  REQUIRE(paused.size() == 2);
  CHECK(f.find(running.id)->paused_from == job_state::running);
  CHECK(f.find(ready.id)->state == job_state::ready);

  CHECK(f.resume(running.id, running.fence + 1).error().code == errc::failed_precondition);
  CHECK(f.resume(running.id, running.fence)->state == job_state::running);
  CHECK(f.resume(offered.id, offered.fence)->state == job_state::offered);
  CHECK(f.resume(offered.id, offered.fence).error().code == errc::failed_precondition);
  CHECK(f.pause("elsewhere")->empty());

  const auto alone = wait_for<job>(
      [&](auto done) { f.l->pause_job(running.id, running.fence, "deadline passed", done); });
  CHECK(alone->state == job_state::lost_contact);
  // Its holder delivers without being resumed first.
  CHECK(f.advance(running.id, job_state::lost_contact, job_state::ready)->node == "home");
}

TEST_CASE("a declined offer leaves no holder, and times are stamped where they belong") {
  ledger_fixture f;
  auto j = f.job_in(job_state::offered);
  CHECK(f.advance(j.id, job_state::offered, job_state::queued)->node.empty());
  j = f.grant(j.id).value();
  CHECK(j.attempt == 2);
  f.clock.advance(std::chrono::seconds{5});
  j = f.advance(j.id, job_state::offered, job_state::running).value();
  CHECK(j.started_ms == j.created_ms + 5000);
  CHECK_FALSE(j.finished_ms);
  f.clock.advance(std::chrono::seconds{5});

  edge ready{j.id, job_state::running, job_state::ready};
  ready.manifest_json = R"({"files":[]})";
  ready.model_out = "my-model";
  ready.trained_tokens = 4800;
  j = f.advance(ready).value();
  CHECK(j.finished_ms == j.created_ms + 10'000);
  f.clock.advance(std::chrono::seconds{5});
  j = f.advance(j.id, job_state::ready, job_state::fetched).value();
  CHECK(j.finished_ms == j.created_ms + 10'000);
  CHECK(j.manifest_json == R"({"files":[]})");
  CHECK(j.model_out == "my-model");
  CHECK(j.trained_tokens == 4800);
}

TEST_CASE("an unknown job is not found by any operation") {
  ledger_fixture f;
  CHECK(f.find("job-x").error().code == errc::not_found);
  CHECK(f.grant("job-x").error().code == errc::not_found);
  CHECK(f.resume("job-x", 1).error().code == errc::not_found);
  CHECK(f.events("job-x").error().code == errc::not_found);
  CHECK(f.advance("job-x", job_state::queued, job_state::failed).error().code == errc::not_found);
}

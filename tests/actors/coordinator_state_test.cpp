#include "actors/coordinator_state.hpp"

#include <catch2/catch.hpp>
#include <optional>

using namespace dlls;
using namespace dlls::actors;
using ledger::job_state;

namespace {

hello says(std::vector<std::string> kinds, std::vector<std::string> models = {}) {
  hello said;
  said.kinds = std::move(kinds);
  for (auto& name : models) said.models.emplace_back(std::move(name), 1, 128, 0);
  return said;
}

std::string name_of(const node_view* node) { return node ? node->name : "nobody"; }

ledger::job job_in(job_state state, std::uint64_t fence) {
  ledger::job job;
  job.id = "job-1";
  job.node = "home";
  job.state = state;
  job.attempt = static_cast<std::uint32_t>(fence);
  job.fence = fence;
  return job;
}

}  // namespace

TEST_CASE("a job goes to the linked node that can do it and has the fewest leases") {
  coordinator_state state;
  CHECK(name_of(state.choose("checksum", "")) == "nobody");
  state.arrive("b", 1, says({"checksum", "fine_tune"}, {"tiny"}), 10);
  state.arrive("a", 2, says({"checksum"}), 20);
  CHECK(name_of(state.choose("checksum", "")) == "a");  // by name among equals
  CHECK(name_of(state.choose("checksum", "tiny")) == "b");
  CHECK(name_of(state.choose("fine_tune", "")) == "b");
  CHECK(name_of(state.choose("generate", "")) == "nobody");
  CHECK(name_of(state.choose("checksum", "", {"a"})) == "b");
  CHECK(name_of(state.choose("checksum", "", {"a", "b"})) == "nobody");

  state.lease("a", "job-1");
  CHECK(name_of(state.choose("checksum", "")) == "b");
  state.lease("b", "job-2");
  state.lease("b", "job-3");
  CHECK(name_of(state.choose("checksum", "")) == "a");
  CHECK(name_of(state.choose("checksum", "tiny")) == "nobody");  // b holds all it may
  state.lease("a", "job-3");                                     // granted anew: the lease moves
  CHECK(state.find("b")->leased == std::set<std::string>{"job-2"});
  CHECK(name_of(state.choose("checksum", "")) == "b");
  state.end_lease("job-1");
  state.end_lease("job-3");
  state.end_lease("job-of-nobody");
  CHECK(name_of(state.choose("checksum", "")) == "a");
}

TEST_CASE(
    "a node that left serves nothing, its models stay known, an old session cannot end a new") {
  coordinator_state state;
  state.arrive("home", 4, says({"checksum"}, {"tiny"}), 10);
  CHECK(name_of(state.serving("tiny")) == "home");
  CHECK(state.serving("other") == nullptr);
  state.lease("home", "job-1");
  state.arrive("home", 5, says({"checksum"}, {"tiny"}), 20);
  CHECK_FALSE(state.depart("home", 4, 30));
  CHECK(state.find("home")->since_ms == 20);
  CHECK(state.find("home")->leased.contains("job-1"));
  CHECK(state.depart("home", 5, 40));
  CHECK_FALSE(state.depart("home", 5, 50));
  CHECK_FALSE(state.depart("nobody", 1, 50));
  CHECK(state.find("home")->since_ms == 40);
  CHECK(state.serving("tiny") == nullptr);
  CHECK(state.known("tiny"));
  CHECK(name_of(state.choose("checksum", "")) == "nobody");
  state.set_models("home", {served_model{"new", 1, 1, 1}});
  CHECK_FALSE(state.known("tiny"));
  CHECK(state.known("new"));
  state.set_models("remembered", {served_model{"old", 1, 1, 1}});  // never linked since the start
  CHECK(state.known("old"));
  CHECK(state.serving("old") == nullptr);
  CHECK(state.find("nobody") == nullptr);
  CHECK(state.nodes().size() == 2);
}

TEST_CASE("reconciliation: each state of the ledger with each thing a node may hold") {
  constexpr std::uint64_t ours = 7;
  struct expected {
    int resume = 0, regrant = 0, lost = 0, pick_up = 0, drop = 0;
  };
  struct line {
    std::optional<job_state> state;  // none: the ledger has no use for the job at that node
    std::optional<std::uint64_t> held;
    expected plan;
  };
  using enum job_state;
  std::vector<line> table;
  for (const auto state : {offered, running, lost_contact}) {
    table.push_back({state, ours, {.resume = 1}});
    table.push_back({state, std::nullopt, {.regrant = 1}});
    table.push_back({state, ours - 1, {.regrant = 1, .drop = 1}});
    table.push_back({state, ours + 1, {.regrant = 1, .drop = 1}});
  }
  table.push_back({ready, ours, {.pick_up = 1}});
  table.push_back({ready, std::nullopt, {.lost = 1}});
  table.push_back({ready, ours - 1, {.lost = 1, .drop = 1}});
  table.push_back({ready, ours + 1, {.lost = 1, .drop = 1}});
  table.push_back({fetched, ours, {}});  // kept for release
  table.push_back({fetched, std::nullopt, {}});
  table.push_back({fetched, ours - 1, {.drop = 1}});
  table.push_back({fetched, ours + 1, {.drop = 1}});
  table.push_back({std::nullopt, ours, {.drop = 1}});
  table.push_back({std::nullopt, std::nullopt, {}});

  for (const auto& one : table) {
    CAPTURE(one.state ? ledger::name(*one.state) : "none", one.held.value_or(0));
    for (const auto state : {held_state::accepted, held_state::sealed, held_state::failed}) {
      std::vector<ledger::job> assigned;
      std::vector<held_job> held;
      if (one.state) assigned.push_back(job_in(*one.state, ours));
      const auto ref =
          job_ref{"job-1", static_cast<std::uint32_t>(one.held.value_or(0)), one.held.value_or(0)};
      if (one.held) held.emplace_back(ref, state);
      const auto plan = reconcile(assigned, held);
      CHECK(plan.resume.size() == static_cast<std::size_t>(one.plan.resume));
      CHECK(plan.regrant.size() == static_cast<std::size_t>(one.plan.regrant));
      CHECK(plan.lost.size() == static_cast<std::size_t>(one.plan.lost));
      CHECK(plan.pick_up.size() == static_cast<std::size_t>(one.plan.pick_up));
      CHECK(plan.drop == std::vector<job_ref>(static_cast<std::size_t>(one.plan.drop), ref));
    }
  }
}

TEST_CASE("reconciliation keeps jobs apart, and an attempt under another fence is another grant") {
  auto first = job_in(job_state::running, 3), second = job_in(job_state::ready, 5);
  second.id = "job-2";
  const std::vector<ledger::job> assigned{first, second};
  const std::vector<held_job> held{
      {job_ref{"job-2", 5, 5}, held_state::sealed},
      {job_ref{"job-1", 2, 3}, held_state::accepted},  // the fence alone is not the grant
      {job_ref{"job-9", 1, 1}, held_state::failed}};
  const auto plan = reconcile(assigned, held);
  REQUIRE(plan.pick_up.size() == 1);
  CHECK(plan.pick_up[0].id == "job-2");
  REQUIRE(plan.regrant.size() == 1);
  CHECK(plan.regrant[0].id == "job-1");
  CHECK(plan.drop == std::vector<job_ref>{{"job-1", 2, 3}, {"job-9", 1, 1}});
  CHECK(plan.resume.empty());
  CHECK(plan.lost.empty());
}

// Many jobs at once, over links and processes that end at random. A failing seed is printed;
// DLLS_SEED=n replays its schedule (the order in which disk and ledger threads answer is theirs).
#include <catch2/catch.hpp>

#include "tests/actors/protocol_world.hpp"
#include "tests/support/catch_result.hpp"

using namespace dlls;
using namespace dlls::tests;
using namespace std::chrono_literals;
using ledger::job_state;

TEST_CASE("jobs with one input and one result do not take each other's files") {
  for (int n = 0; n < 8; ++n) {
    world w{seed_or(11 + static_cast<std::uint64_t>(n))};
    CAPTURE(w.system().seed());
    auto& home = w.add_node("home");
    const std::vector<std::string> inputs{std::string(400'000, 'z'), "hello"};
    std::vector<std::string> ids;
    for (int i = 0; i < 5; ++i) ids.push_back(w.submit(inputs));
    // Each is released as soon as it may be, while the next ones are taken and worked on.
    std::set<std::string> released;
    const bool all = w.until(
        [&] {
          for (const auto& id : ids)
            if (!released.contains(id) && w.state(id) == job_state::fetched) {
              fetched_once(w, id, inputs);
              REQUIRE(w.release(id));
              released.insert(id);
            }
          return released.size() == ids.size();
        },
        6h);
    CHECK(all);
    w.settle();
    CHECK(home.held() == 0);
    CHECK(home.services.artifacts->list().value().empty());
  }
}

TEST_CASE("under random cuts and restarts every job ends once, with the right checksum") {
  for (int n = 0; n < 40; ++n) {
    const auto seed = seed_or(1000 + static_cast<std::uint64_t>(n));
    world w{seed};
    CAPTURE(seed);
    auto& chance = w.chance();
    std::vector<node_process*> nodes;
    for (const auto* name : {"a", "b", "c"}) nodes.push_back(&w.add_node(name));
    w.cut_at_random(0.05, 15);
    std::map<std::string, std::vector<std::string>> jobs;
    const std::string shared(200'000, 's');
    for (int i = 0; i < 7; ++i) {
      std::vector<std::string> inputs{"job " + std::to_string(i / 2)};  // some are twins
      if (chance.below(2)) inputs.push_back(shared);
      jobs[w.submit(inputs, 1 + static_cast<int>(chance.below(3)))] = inputs;
      const auto pause = std::chrono::milliseconds{chance.below(120'000)};
      switch (chance.below(6)) {
        case 0: {
          auto& node = *nodes[chance.below(nodes.size())];
          w.stop_node(node);
          w.advance(pause);
          w.start_node(node);
          break;
        }
        case 1:
          w.stop_coordinator();
          w.start_coordinator();
          break;
        case 2:
          w.advance(pause);
          break;
        default:;
      }
    }
    const bool all = w.until(
        [&] {
          for (const auto& [id, inputs] : jobs)
            if (w.state(id) != job_state::fetched) return false;
          return true;
        },
        72h);
    CHECK(all);
    w.cut_at_random(0, 0);
    w.advance(2h);  // late words
    for (const auto& [id, inputs] : jobs) fetched_once(w, id, inputs);
    // What is released is forgotten everywhere.
    for (const auto& [id, inputs] : jobs) CHECK(w.release(id));
    const auto forgotten = w.until(
        [&] {
          for (auto* node : nodes)
            if (node->held() > 0) return false;
          return true;
        },
        2h);
    CHECK(forgotten);
    for (auto* node : nodes) {
      w.stop_node(*node);
      w.start_node(*node);
      CHECK(node->services.artifacts->list().value().empty());
    }
  }
}

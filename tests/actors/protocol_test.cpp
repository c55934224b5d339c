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

void fetched_once(world& w, const std::string& id, const std::vector<std::string>& contents) {
  std::string all;
  for (const auto& one : contents) all += one;
  const auto job = w.job(id);
  CAPTURE(id, ledger::name(job.state), job.error_message, w.system().seed());
  CHECK(job.state == job_state::fetched);
  CHECK(w.picked_up_sum(id) == base::sha256_hex(all));
  CHECK(w.count_events(id, "ready on the node") == 1);
  CHECK(w.count_events(id, "the result was picked up") == 1);
  int told = 0;
  for (const auto& row : w.webhooks()) told += row.job == id && row.type == "dlls.job.succeeded";
  CHECK(told == 1);
}

bool until_state(world& w, const std::string& id, job_state state) {
  return w.until([&] { return w.state(id) == state; }, 24h);
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

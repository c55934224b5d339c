// Hundreds of runs of the job protocol, each drawn from a seed (simulation.hpp). A failing run
// prints its seed and the command that repeats it. DLLS_SEEDS=n makes it n runs; DLLS_TELL=1 prints
// each message and fault of a run. safeguards.py proves that a missing safeguard is noticed.
#include <fmt/core.h>

#include <catch2/catch.hpp>
#include <cstdlib>

#include "tests/sim/simulation.hpp"
#include "tests/support/virtual_system.hpp"

using namespace dlls::tests;

namespace {

constexpr std::uint64_t base_seed = 1;

bool is_told() { return std::getenv("DLLS_TELL") != nullptr; }

std::uint64_t runs() {
  if (std::getenv("DLLS_SEED")) return 1;
  const char* given = std::getenv("DLLS_SEEDS");
  return given ? std::strtoull(given, nullptr, 0) : 600;
}

}  // namespace

TEST_CASE("whatever happens, each job ends once with the right result", "[random]") {
  const auto first = seed_or(base_seed);
  fmt::print("{} runs from seed {}\n", runs(), first);
  std::map<std::string, int> happened;
  std::uint64_t failed = 0;
  for (auto seed = first; seed < first + runs(); ++seed) {
    const auto run = simulate(seed, is_told());
    for (const auto& [what, times] : run.happened) happened[what] += times;
    if (run.breaches.empty()) continue;
    ++failed;
    fmt::print("seed {} fails; DLLS_SEED={} build/release/bin/test_sim \"[random]\"\n", seed, seed);
    for (const auto& breach : run.breaches) {
      fmt::print("  {}\n", breach);
      UNSCOPED_INFO(breach);
    }
    CHECK(run.breaches.empty());
    if (failed == 10) break;
  }
  CHECK(failed == 0);
  for (const auto& [what, times] : happened) fmt::print("  {:<20}{:>8}\n", what, times);
}

TEST_CASE("the same seed gives the same run") {
  const auto first = seed_or(base_seed);
  for (auto seed = first; seed < first + 5; ++seed) {
    CAPTURE(seed);
    CHECK(simulate(seed).trace == simulate(seed).trace);
  }
  CHECK(simulate(first).trace != simulate(first + 1).trace);
}

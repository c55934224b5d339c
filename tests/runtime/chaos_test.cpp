// Random programs of everything that can be awaited, on virtual time: whatever happens, answers go
// to whoever asked, and nothing outlives its actor.
#include <catch2/catch.hpp>

#include "base/log.hpp"
#include "runtime/detail/frames.hpp"
#include "tests/runtime/chaos_actor.hpp"

using namespace dlls;
using namespace dlls::tests;

namespace {

constexpr int actors_in_a_run = 5;

struct quiet_log {
  quiet_log() { base::set_log_level(base::log_level::off); }
  ~quiet_log() { base::set_log_level(base::log_level::warning); }
};

struct run_result {
  int answered = 0, values = 0;
};

caf::actor spawn_one(virtual_system& world, const std::shared_ptr<chaos>& in) {
  auto made = world.spawn<chaos_actor>(in);
  in->everybody.push_back(caf::actor_cast<caf::actor_addr>(made));
  return made;
}

// With an odd seed everybody is killed in the middle, else all of it ends by itself.
run_result run_chaos(std::uint64_t seed) {
  const bool cut_short = seed % 2 == 1;
  INFO("DLLS_SEED=" << seed << (cut_short ? ", cut short" : ""));
  const quiet_log quiet;
  const auto frames_before = rt::live_frames();
  auto in = std::make_shared<chaos>(seed);
  {
    virtual_system world{seed};
    const auto running_before = world.actors().registry().running();
    for (int i = 0; i < actors_in_a_run; ++i) in->actors.push_back(spawn_one(world, in));
    const int budget = 100 << in->below(5), rounds = 5 + in->below(30);
    in->budget = budget;
    for (int round = 0; round < rounds; ++round) {
      caf::anon_send(in->any(), poke{5});
      world.outside().ask<int>(in->any(), 50ms, work{3, round}, [in](base::result<int>) {});
      world.advance(std::chrono::milliseconds{in->below(40)});
      in->resolve_some();
      auto& one = in->actors[static_cast<std::size_t>(in->below(actors_in_a_run))];
      if (in->below(5) == 0) one = spawn_one(world, in);
    }
    if (!cut_short) {
      in->budget = 0;
      world.advance(1min);
      // A subscription that nobody reads has no deadline, and keeps both of its ends.
      for (const auto& a : in->everybody)
        if (auto alive = caf::actor_cast<caf::actor>(a)) caf::anon_send(alive, poke{0});
      in->actors.clear();
      in->resolvers.clear();
      world.advance(10min);
      CHECK(world.actors().registry().running() == running_before);
      CHECK(in->actors_alive == 0);
    }
    in->actors.clear();
  }
  CHECK(in->wrong == 0);
  CHECK(in->actors_alive == 0);
  CHECK(in->steps_alive == 0);
  CHECK(rt::live_frames() == frames_before);
  return {in->answered, in->values};
}

}  // namespace

// Each run has a seed of its own, which a failure prints: DLLS_SEED=n DLLS_RUNS=1 replays it.
// DLLS_RUNS=10000 for a longer hunt.
TEST_CASE("random programs, ended or cut short, leave no actor, no frame and no wrong answer") {
  const auto seed = seed_or(base::secure_random_u64());
  const char* runs = std::getenv("DLLS_RUNS");
  run_result all;
  for (int i = 0, n = runs ? std::atoi(runs) : 300; i < n; ++i) {
    const auto one = run_chaos(seed + static_cast<std::uint64_t>(i));
    all.answered += one.answered;
    all.values += one.values;
  }
  CAPTURE(seed, all.answered, all.values);
  CHECK((all.answered > 0 || runs));
  CHECK((all.values > 0 || runs));
}

// The backward pass against nothing but the forward pass: finite differences, in double.
#include <catch2/catch.hpp>
#include <cmath>

#include "base/random.hpp"
#include "kernels/dispatch.hpp"
#include "model/optimizer.hpp"

namespace dlls::model {
namespace {

llama_config config_of(std::uint32_t heads, std::uint32_t kv_heads, bool tied) {
  llama_config c;
  c.vocab = 23, c.heads = heads, c.kv_heads = kv_heads, c.head_dim = 6, c.dim = 6 * heads;
  c.layers = 2, c.ff = 10, c.context = 32, c.tied = tied;
  return c;
}

// Sequences of the given lengths; about a third of the targets do not count.
token_batch random_batch(
    const llama_config& c, base::random_source& random,
    std::initializer_list<std::size_t> lengths) {
  token_batch b;
  for (const auto n : lengths) {
    std::vector<token_id> inputs(n), targets(n);
    for (auto& t : inputs) t = token_id(random.below(c.vocab));
    for (auto& t : targets)
      t = random.below(3) == 0 ? kernels::no_target : token_id(random.below(c.vocab));
    targets.back() = 1;
    b.add(inputs, targets);
  }
  return b;
}

struct rig {
  rig(const llama_config& c, base::random_source& random, std::span<const float> factors = {})
      : config(c),
        layout(config),
        pool(2),
        state(layout, kernels::reference_training_ops(), pool),
        pass(config, layout, kernels::reference_training_ops(), pool, factors) {
    for (std::size_t i = 0; i < state.weights.size(); ++i)
      state.weights[i] = random.uniform() * 0.8 - 0.3;
  }
  double loss(const token_batch& b) {
    std::vector<double> ignored(layout.values());
    return pass.run(state.weights.data(), ignored.data(), b, 1.0, true) / double(b.counted());
  }
  llama_config config;
  parameter_layout layout;
  kernels::thread_pool pool;
  optimizer<double> state;
  training_pass<double> pass;
};

// Central differences at a few places of every tensor.
void check_gradient(rig& r, const token_batch& batch, base::random_source& random) {
  r.state.gradient_of(r.pass, std::span(&batch, 1));
  constexpr double step = 1e-5;
  for (const auto& p : r.layout.all())
    for (int i = 0; i < 6; ++i) {
      const std::size_t at = p.offset + random.below(p.values());
      INFO(p.name << " value " << at - p.offset);
      double& w = r.state.weights[at];
      const double before = w;
      w = before + step;
      const double above = r.loss(batch);
      w = before - step;
      const double below = r.loss(batch);
      w = before;
      CHECK(
          r.state.gradient[at] == Approx((above - below) / (2 * step)).epsilon(1e-5).margin(1e-9));
    }
}

}  // namespace

TEST_CASE("every gradient equals the slope of the loss, with grouped heads and tied embeddings") {
  const std::uint64_t seed = Catch::rngSeed();
  INFO("--rng-seed " << seed);
  base::random_source random(seed);
  for (const bool tied : {true, false})
    for (const auto& [heads, kv_heads] : {std::pair{4U, 2U}, {3U, 1U}, {2U, 2U}}) {
      INFO(heads << " heads, " << kv_heads << " kv heads, tied " << tied);
      rig r(config_of(heads, kv_heads, tied), random);
      check_gradient(r, random_batch(r.config, random, {5, 1, 8}), random);
    }
}

TEST_CASE("rope factors change the loss and keep its gradient right") {
  const std::uint64_t seed = Catch::rngSeed();
  INFO("--rng-seed " << seed);
  base::random_source random(seed), again(seed);
  const std::vector<float> factors{1.0F, 4.0F, 8.0F};
  rig scaled(config_of(2, 1, true), random, factors), plain(config_of(2, 1, true), again);
  const auto batch = random_batch(scaled.config, random, {9});
  CHECK(scaled.loss(batch) != plain.loss(batch));
  check_gradient(scaled, batch, random);
}

TEST_CASE("sequences side by side give the loss and gradient of each alone, summed") {
  const std::uint64_t seed = Catch::rngSeed();
  INFO("--rng-seed " << seed);
  base::random_source random(seed);
  rig r(config_of(4, 2, true), random);
  const auto packed = random_batch(r.config, random, {3, 7, 1, 12});
  std::vector<token_batch> alone(4);
  for (std::size_t i = 0; i < 4; ++i) {
    const std::size_t from = packed.starts[i], n = packed.starts[i + 1] - from;
    alone[i].add(
        std::span(packed.tokens).subspan(from, n), std::span(packed.targets).subspan(from, n));
  }
  const double together = r.state.gradient_of(r.pass, std::span(&packed, 1));
  const std::vector<double> wanted(
      r.state.gradient.data(), r.state.gradient.data() + r.layout.values());
  CHECK(r.state.gradient_of(r.pass, alone) == Approx(together).epsilon(1e-12));
  for (std::size_t i = 0; i < wanted.size(); ++i)
    CHECK(r.state.gradient[i] == Approx(wanted[i]).epsilon(1e-9).margin(1e-12));
}

TEST_CASE("the fast pass gives the same bits again, on one thread or more") {
  const std::uint64_t seed = Catch::rngSeed();
  INFO("--rng-seed " << seed);
  base::random_source random(seed);
  const auto config = config_of(4, 2, true);
  const parameter_layout layout(config);
  const auto batch = random_batch(config, random, {30, 17, 5, 29, 31, 32});
  const auto& ops = kernels::training_ops_for(kernels::active());
  std::vector<std::vector<float>> runs;
  for (const std::size_t threads : {2, 2, 2, 1}) {
    kernels::thread_pool pool(threads);
    optimizer<float> state(layout, ops, pool);
    training_pass<float> pass(config, layout, ops, pool);
    draw_weights(layout, seed, {state.weights.data(), state.weights.size()});
    state.gradient_of(pass, std::span(&batch, 1));
    runs.emplace_back(state.gradient.data(), state.gradient.data() + layout.values());
  }
  CHECK(runs[0] == runs[1]);
  CHECK(runs[0] == runs[2]);
  CHECK(runs[0] == runs[3]);
}

TEST_CASE("the schedule rises, holds or falls along half a cosine; the clip is PyTorch's") {
  training_spec s;
  s.learning_rate = 1.0, s.warmup_ratio = 0.2;
  CHECK(learning_rate_at(s, 1, 10) == 0.5);
  CHECK(learning_rate_at(s, 2, 10) == 1.0);
  CHECK(learning_rate_at(s, 10, 10) == 1.0);
  s.schedule = rate_schedule::cosine, s.min_rate_ratio = 0.1;
  CHECK(learning_rate_at(s, 3, 10) == 1.0);
  CHECK(learning_rate_at(s, 7, 10) == Approx(0.55));
  CHECK(learning_rate_at(s, 10, 10) < 0.2);
  CHECK(learning_rate_at(s, 10, 10) > 0.1);
  CHECK(clip_scale(0.5, 1.0) == 1.0);
  CHECK(clip_scale(4.0, 1.0) == Approx(0.25).epsilon(1e-6));
  CHECK(clip_scale(4.0, 0.0) == 1.0);
}

}  // namespace dlls::model

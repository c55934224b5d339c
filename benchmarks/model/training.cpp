// How many tokens a second does training reach? One shape, one number a round: training.py runs it
// in turns with PyTorch.
//   bench_training SHAPE THREADS        SHAPE: tiny or smollm2
// Each line read makes one full step (forward, backward, norm, clip, AdamW) and prints one line.
#include <fmt/core.h>
#include <sys/resource.h>
#include <time.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <string>
#include <string_view>

#include "base/random.hpp"
#include "kernels/dispatch.hpp"
#include "model/optimizer.hpp"

namespace {

using namespace dlls;
using namespace dlls::model;

constexpr std::uint64_t seed = 42;
constexpr std::size_t sequence = 256;

struct shape {
  llama_config config;
  std::size_t batch = 0;
};

shape shape_of(std::string_view name) {
  shape s;
  auto& c = s.config;
  c.context = sequence;
  if (name == "tiny") {
    c.vocab = 4096, c.dim = 288, c.layers = 6, c.heads = c.kv_heads = 6, c.head_dim = 48;
    c.ff = 768, s.batch = 16;
  } else if (name == "smollm2") {
    c.vocab = 49152, c.dim = 576, c.layers = 30, c.heads = 9, c.kv_heads = 3, c.head_dim = 64;
    c.ff = 1536, c.rope_base = 1e5F, s.batch = 2;
  } else {
    fmt::print(stderr, "unknown shape {}\n", name);
    std::exit(2);
  }
  c.tied = true;
  return s;
}

token_batch random_batch(const shape& s, base::random_source& random) {
  token_batch made;
  for (std::size_t row = 0; row < s.batch; ++row) {
    std::vector<token_id> ids(sequence + 1);
    for (auto& id : ids) id = token_id(random.below(s.config.vocab));
    const std::span all(ids);
    made.add(all.first(sequence), all.last(sequence));
  }
  return made;
}

// Of all threads: less disturbed by other programs than the time on the wall.
double cpu_ms() {
  timespec t{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return double(t.tv_sec) * 1e3 + double(t.tv_nsec) / 1e6;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return fmt::print(stderr, "bench_training SHAPE THREADS\n"), 2;
  const shape s = shape_of(argv[1]);
  kernels::thread_pool pool(std::strtoul(argv[2], nullptr, 10));
  const auto& ops = kernels::training_ops_for(kernels::active());
  const parameter_layout layout(s.config);
  optimizer<float> state(layout, ops, pool);
  training_pass<float> pass(s.config, layout, ops, pool);
  draw_weights(layout, seed, {state.weights.data(), state.weights.size()});
  base::random_source random(seed);
  training_spec spec;
  std::puts("ready"), std::fflush(stdout);
  std::string line;
  for (std::uint64_t step = 1; std::getline(std::cin, line); ++step) {
    const std::vector<token_batch> batches{random_batch(s, random)};
    const double cpu_before = cpu_ms();
    const auto start = std::chrono::steady_clock::now();
    const double loss = state.gradient_of(pass, batches), norm = state.norm();
    state.update(spec, step, spec.learning_rate, clip_scale(norm, spec.clip));
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    const double cpu = cpu_ms() - cpu_before;
    rusage usage{};
    ::getrusage(RUSAGE_SELF, &usage);
    fmt::print(
        "{{\"tokens_per_s\": {:.1f}, \"cpu_ms\": {:.1f}, \"loss\": {:.6f}, \"ops\": \"{}\", "
        "\"rss_mb\": {}}}\n",
        double(batches[0].size()) / took.count(), cpu, loss, ops.name, usage.ru_maxrss / 1024);
    std::fflush(stdout);
  }
}

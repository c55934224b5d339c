// Several clients at once: how long each waits for its first token, and how many tokens a second
// come out in all.
//
//     bench_serving MODEL [threads=2] [clients=8] [prompt=180] [answer=64] [rounds=1] [seed=1]
//         [guess=0]
//
// All clients come at once, with prompts of their own. Answers to prompts of random tokens repeat
// themselves, so guessing ahead is left out unless asked for (guess=8: rows). One line a round,
// `key=value` pairs; benchmarks/model/serving.py runs it in turn with llama.cpp.
#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <ctime>
#include <map>
#include <string_view>
#include <vector>

#include "base/random.hpp"
#include "benchmarks/model/settings.hpp"
#include "kernels/dispatch.hpp"
#include "kernels/parallel.hpp"
#include "model/engine.hpp"
#include "model/gguf.hpp"

namespace dlls {
namespace {

using clock = std::chrono::steady_clock;

struct settings {
  std::size_t threads = 2, clients = 8, prompt = 180, answer = 64, rounds = 1, seed = 1, guess = 0;

  bool set(std::string_view argument) {
    return set_number(
        argument, {{"threads", &threads},
                   {"clients", &clients},
                   {"prompt", &prompt},
                   {"answer", &answer},
                   {"rounds", &rounds},
                   {"seed", &seed},
                   {"guess", &guess}});
  }
};

double seconds_since(clock::time_point start) {
  return std::chrono::duration<double>(clock::now() - start).count();
}

void round(
    const std::shared_ptr<const model::llama>& llama,
    const std::shared_ptr<const model::tokenizer>& vocabulary, kernels::thread_pool& pool,
    const settings& s, std::size_t number) {
  base::random_source random(s.seed + number);
  model::engine_limits limits;
  limits.running_max = static_cast<std::uint32_t>(std::min<std::size_t>(s.clients, 64));
  limits.waiting_max = static_cast<std::uint32_t>(s.clients);
  limits.guessing_rows_max = static_cast<std::uint32_t>(s.guess);
  auto engine = model::engine::make(llama, vocabulary, limits).value();
  const auto start = clock::now();
  const auto ticks = std::clock();
  for (std::size_t i = 0; i < s.clients; ++i) {
    model::generation_request request;
    for (std::size_t j = 0; j < s.prompt; ++j)
      request.prompt.push_back(
          static_cast<model::token_id>(random.below(vocabulary->vocab_size())));
    request.max_tokens = static_cast<std::uint32_t>(s.answer);
    request.how.temperature = 0;
    request.ignore_end = true;
    engine->add(engine->begin(std::move(request)).value(), "client").value();
  }
  std::map<model::engine::sequence_id, double> first;
  std::size_t tokens = 0;
  double longest_step = 0;
  while (!engine->idle()) {
    const auto began = clock::now();
    for (const auto& made : engine->step(pool)) {
      first.try_emplace(made.who, seconds_since(start));
      ++tokens;
    }
    longest_step = std::max(longest_step, seconds_since(began));
  }
  const auto wall = seconds_since(start);
  const auto processor = static_cast<double>(std::clock() - ticks) / CLOCKS_PER_SEC;
  double waited = 0;
  for (const auto& [who, seconds] : first) waited += seconds / static_cast<double>(first.size());
  fmt::print(
      "kernels={} threads={} clients={} prompt={} answer={} first_token_s={:.3f} "
      "tokens_per_s={:.1f} tokens_per_cpu_s={:.1f} longest_step_s={:.3f}\n",
      kernels::name(kernels::active()), pool.threads(), s.clients, s.prompt, s.answer, waited,
      static_cast<double>(tokens) / wall, static_cast<double>(tokens) / processor, longest_step);
  std::fflush(stdout);
}

int run(int count, char** arguments) {
  settings s;
  for (int i = 2; i < count; ++i)
    if (!s.set(arguments[i])) return fmt::print(stderr, "what is '{}'?\n", arguments[i]), 2;
  if (count < 2) return fmt::print(stderr, "usage: bench_serving MODEL [threads=2] ...\n"), 2;
  const auto file = model::gguf_file::open(arguments[1]);
  if (!file) return fmt::print(stderr, "{}\n", file.error().text()), 1;
  const auto llama = model::llama::load(*file);
  if (!llama) return fmt::print(stderr, "{}\n", llama.error().text()), 1;
  const auto vocabulary = model::tokenizer::from(**file);
  if (!vocabulary) return fmt::print(stderr, "{}\n", vocabulary.error().text()), 1;
  kernels::thread_pool pool(s.threads);
  for (std::size_t i = 0; i < s.rounds; ++i) round(*llama, *vocabulary, pool, s, i);
  return 0;
}

}  // namespace
}  // namespace dlls

int main(int count, char** arguments) { return dlls::run(count, arguments); }

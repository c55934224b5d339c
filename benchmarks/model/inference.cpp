// How many tokens a second: prefill of a long prompt, and decoding after it.
//
//     bench_inference MODEL [threads=2] [prefill=512] [decode=64] [rounds=3] [seed=1] [exact=0]
//         [cache=f16] [roofline=0]
//
// cache: the key-value cache's element types, in turns: cache=f16,q8_0. roofline=1: also how fast
// these threads read memory, and which part of that decoding reads: every weight once a token, and
// the keys and values of all positions before it. One line a round, `key=value` pairs;
// benchmarks/model/inference.py runs it in turn with llama.cpp.
#include <fmt/core.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <ctime>
#include <string>
#include <string_view>
#include <vector>

#include "base/random.hpp"
#include "benchmarks/model/settings.hpp"
#include "kernels/dispatch.hpp"
#include "kernels/memory.hpp"
#include "kernels/parallel.hpp"
#include "model/gguf.hpp"
#include "model/llama.hpp"
#include "model/tensor_type.hpp"
#include "model/tokenizer.hpp"

namespace dlls {
namespace {

struct settings {
  std::size_t threads = 2, prefill = 512, decode = 64, rounds = 3, seed = 1, exact = 0;
  std::size_t roofline = 0;
  std::vector<model::tensor_type> caches;

  bool set(std::string_view argument) {
    if (argument.starts_with("cache=")) return set_caches(argument.substr(6));
    return set_number(
        argument, {{"threads", &threads},
                   {"prefill", &prefill},
                   {"decode", &decode},
                   {"rounds", &rounds},
                   {"seed", &seed},
                   {"exact", &exact},
                   {"roofline", &roofline}});
  }

  bool set_caches(std::string_view names) {
    for (;;) {
      const auto wanted = names.substr(0, names.find(','));
      const auto types = model::tensor_types();
      const auto found = std::ranges::find(types, wanted, model::name);
      if (found == types.end()) return false;
      caches.push_back(*found);
      if (wanted.size() == names.size()) return true;
      names.remove_prefix(wanted.size() + 1);
    }
  }
};

// By the clock on the wall, and in processor time of all threads: the latter is what can be
// compared while the machine has other work.
struct duration {
  double wall_s, processor_s;
};

duration duration_of(auto&& work) {
  const auto start = std::chrono::steady_clock::now();
  const auto ticks = std::clock();
  work();
  const std::chrono::duration<double> wall = std::chrono::steady_clock::now() - start;
  return {wall.count(), static_cast<double>(std::clock() - ticks) / CLOCKS_PER_SEC};
}

// Bytes a second that the pool's threads read, each its own part of 96 MiB in large pages: the best
// of some rounds, with the hardware fetching ahead and with the program doing so.
using words = std::uint64_t __attribute__((vector_size(16), may_alias));
double read_limit(kernels::thread_pool& pool) {
  constexpr std::size_t bytes = 96u << 20, line = 64, ahead = 4096;
  static kernels::huge_buffer memory(bytes);
  std::memset(memory.data(), 1, bytes);
  const auto share = bytes / pool.threads() / line * line;
  std::atomic<std::uint64_t> all = 0;  // so that nothing is left out
  double best = 0;
  for (int i = 0; i < 16; ++i) {
    const auto took = duration_of([&] {
      kernels::parallel_for(pool, pool.threads(), 1, [&](std::size_t part, std::size_t) {
        const auto* p = memory.data() + part * share;
        words sum[4] = {};
        for (std::size_t at = 0; at < share; at += line)
          for (std::size_t w = 0; w < 4; ++w) {
            if (w == 0 && i % 2) __builtin_prefetch(p + at + ahead);
            sum[w] += *reinterpret_cast<const words*>(p + at + 16 * w);
          }
        for (const auto s : sum) all += s[0] + s[1];
      });
    });
    best = std::max(best, static_cast<double>(share * pool.threads()) / took.wall_s);
  }
  return best;
}

void round(
    const model::llama& llama, model::tensor_type cache_type, kernels::thread_pool& pool,
    const settings& s) {
  const auto& c = llama.config();
  base::random_source random(s.seed);
  std::vector<model::token_id> prompt(s.prefill);
  for (auto& id : prompt) id = static_cast<model::token_id>(random.below(c.vocab));
  model::kv_cache cache(
      c, static_cast<std::uint32_t>(s.prefill + s.decode), model::element_of(cache_type));
  std::vector<float> logits(c.vocab);
  const auto prefill = duration_of([&] { model::forward(llama, cache, prompt, logits, pool); });
  const auto decode = duration_of([&] {
    for (std::size_t i = 0; i < s.decode; ++i) {
      const auto best = std::max_element(logits.begin(), logits.end()) - logits.begin();
      const auto id = static_cast<model::token_id>(best);
      model::forward(llama, cache, std::span(&id, 1), logits, pool);
    }
  });
  const auto rate = [](std::size_t tokens, double seconds) {
    return static_cast<double>(tokens) / seconds;
  };
  fmt::print(
      "kernels={} cache={} threads={} prefill={} prefill_per_s={:.1f} prefill_per_cpu_s={:.1f} "
      "decode={} decode_per_s={:.1f} decode_per_cpu_s={:.1f}",
      kernels::name(kernels::active()), model::name(cache_type), pool.threads(), s.prefill,
      rate(s.prefill, prefill.wall_s), rate(s.prefill, prefill.processor_s), s.decode,
      rate(s.decode, decode.wall_s), rate(s.decode, decode.processor_s));
  if (s.roofline != 0) {
    const auto positions = static_cast<double>(s.prefill) + static_cast<double>(s.decode) / 2;
    const auto position_bytes =
        static_cast<double>(model::kv_pool::page_bytes(c, model::element_of(cache_type))) /
        model::kv_page_tokens;
    const auto bytes = static_cast<double>(llama.bytes()) + positions * position_bytes;
    const auto limit = read_limit(pool);
    fmt::print(
        " read_limit_gb_per_s={:.1f} decode_of_limit={:.2f}", limit / 1e9,
        bytes * rate(s.decode, decode.wall_s) / limit);
  }
  fmt::print("\n");
  std::fflush(stdout);
}

int run(int count, char** arguments) {
  settings s;
  for (int i = 2; i < count; ++i)
    if (!s.set(arguments[i])) return fmt::print(stderr, "what is '{}'?\n", arguments[i]), 2;
  if (count < 2) return fmt::print(stderr, "usage: bench_inference MODEL [threads=2] ...\n"), 2;
  const auto file = model::gguf_file::open(arguments[1]);
  if (!file) return fmt::print(stderr, "{}\n", file.error().text()), 1;
  const auto how = s.exact != 0 ? model::activations::f32 : model::activations::q8;
  kernels::thread_pool pool(s.threads);
  const auto llama = model::llama::load(*file, how, pool);
  if (!llama) return fmt::print(stderr, "{}\n", llama.error().text()), 1;
  // Part of a start, as it is of llama.cpp's.
  const auto vocabulary = model::tokenizer::from(**file);
  if (!vocabulary) return fmt::print(stderr, "{}\n", vocabulary.error().text()), 1;
  if (s.caches.empty())
    s.caches = {s.exact != 0 ? model::tensor_type::f32 : model::tensor_type::f16};
  for (std::size_t i = 0; i < s.rounds; ++i)
    for (const auto type : s.caches) round(**llama, type, pool, s);
  return 0;
}

}  // namespace
}  // namespace dlls

int main(int count, char** arguments) { return dlls::run(count, arguments); }

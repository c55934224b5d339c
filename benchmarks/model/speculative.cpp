// What guessing ahead brings to one answer at a time: tokens a second without it, with what the
// answer's own text suggests (prompt lookup), and with a smaller model that guesses (DRAFT, of the
// same vocabulary).
//
//     bench_speculative MODEL [DRAFT] [threads=2] [answer=128] [rounds=3] [temperature_percent=0]
//
// In every round each way answers the same questions, in turn. The answers are compared: they are
// the same, or this fails. One line a way, `key=value` pairs: medians of the rounds.
#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <string_view>
#include <vector>

#include "base/check.hpp"
#include "benchmarks/model/settings.hpp"
#include "kernels/dispatch.hpp"
#include "kernels/parallel.hpp"
#include "model/chat_template.hpp"
#include "model/engine.hpp"
#include "model/gguf.hpp"

namespace dlls {
namespace {

using clock = std::chrono::steady_clock;

constexpr const char* questions[] = {
    "Explain in a few paragraphs how a ship's lock lifts a boat from one level to another.",
    "Write a short story about a lighthouse keeper who finds a letter in a bottle.",
    "Write a Python function that merges two sorted lists, and explain each step.",
    "List ten things to check before a long hike, with a sentence about each.",
    "Rewrite this politely, keeping every fact: the delivery of 40 chairs came on Tuesday instead "
    "of Monday, three of the 40 chairs are broken, and nobody answers the telephone.",
};

struct settings {
  std::size_t threads = 2, answer = 128, rounds = 3, temperature_percent = 0;

  bool set(std::string_view argument) {
    return set_number(
        argument, {{"threads", &threads},
                   {"answer", &answer},
                   {"rounds", &rounds},
                   {"temperature_percent", &temperature_percent}});
  }
};

struct loaded {
  std::shared_ptr<const model::llama> weights;
  std::shared_ptr<const model::tokenizer> vocabulary;
  model::chat_template how;
};

base::result<loaded> load(const char* path) {
  auto file = model::gguf_file::open(path);
  if (!file) return file.error();
  auto weights = model::llama::load(*file);
  if (!weights) return weights.error();
  auto vocabulary = model::tokenizer::from(**file);
  if (!vocabulary) return vocabulary.error();
  auto how = model::chat_template::from(**file);
  if (!how) return how.error();
  return loaded{*weights, *vocabulary, *how};
}

struct way {
  const char* name;
  std::uint32_t rows;
  std::optional<model::draft_model> draft;
  std::vector<double> seconds = {};
  std::vector<model::token_id> said = {};
  model::engine_load load = {};
};

// All questions, one after the other; only the time after an answer's first token counts.
void answer(const loaded& on, way& by, const settings& s, kernels::thread_pool& pool) {
  model::engine_limits limits;
  limits.guessing_rows_max = by.rows;
  auto engine = model::engine::make(on.weights, on.vocabulary, limits, by.draft).value();
  by.said.clear();
  clock::duration took{};
  for (const auto* question : questions) {
    const std::vector<model::chat_message> turns{{"user", question}};
    model::generation_request request;
    request.prompt = model::encode_chat(*on.vocabulary, on.how, turns).value();
    request.max_tokens = static_cast<std::uint32_t>(s.answer);
    request.how.temperature = static_cast<float>(s.temperature_percent) / 100;
    request.how.seed = 1;
    engine->add(engine->begin(std::move(request)).value(), "one").value();
    auto began = clock::now();
    for (bool first = true; !engine->idle();) {
      const auto made = engine->step(pool);
      for (const auto& one : made) by.said.push_back(one.delta.token);
      if (!made.empty() && std::exchange(first, false)) began = clock::now();
    }
    took += clock::now() - began;
  }
  by.seconds.push_back(std::chrono::duration<double>(took).count());
  by.load = engine->load();
}

double median(std::vector<double> of) {
  std::ranges::sort(of);
  return of[of.size() / 2];
}

void report(const way& by, double without, const settings& s) {
  const auto tokens = static_cast<double>(by.said.size() - std::size(questions));
  const auto seconds = median(by.seconds);
  const auto share = [](std::uint64_t right, std::uint64_t of) {
    return of == 0 ? 0.0 : static_cast<double>(right) / static_cast<double>(of);
  };
  fmt::print(
      "way={} kernels={} threads={} temperature={:.2f} tokens={} tokens_per_s={:.1f} ratio={:.2f} "
      "looked_up={} right={:.2f} drafted={} right={:.2f}\n",
      by.name, kernels::name(kernels::active()), s.threads,
      static_cast<double>(s.temperature_percent) / 100, by.said.size(), tokens / seconds,
      without / seconds, by.load.guessed, share(by.load.guessed_right, by.load.guessed),
      by.load.drafted, share(by.load.drafted_right, by.load.drafted));
}

int run(int count, char** arguments) {
  settings s;
  std::vector<const char*> files;
  for (int i = 1; i < count; ++i)
    if (!s.set(arguments[i])) files.push_back(arguments[i]);
  if (files.empty() || files.size() > 2)
    return fmt::print(stderr, "usage: bench_speculative MODEL [DRAFT] [threads=2] ...\n"), 2;
  const auto on = load(files[0]);
  if (!on) return fmt::print(stderr, "{}\n", on.error().text()), 1;
  std::vector<way> ways{{"none", 0, {}}, {"lookup", 8, {}}};
  if (files.size() == 2) {
    const auto draft = load(files[1]);
    if (!draft) return fmt::print(stderr, "{}\n", draft.error().text()), 1;
    ways.push_back({"lookup+draft", 8, model::draft_model{draft->weights, draft->vocabulary}});
  }
  kernels::thread_pool pool(s.threads);
  for (std::size_t i = 0; i < s.rounds; ++i)
    for (auto& by : ways) answer(*on, by, s, pool);
  for (const auto& by : ways) {
    base::check(by.said == ways.front().said, "the same answers in every way");
    report(by, median(ways.front().seconds), s);
  }
  return 0;
}

}  // namespace
}  // namespace dlls

int main(int count, char** arguments) { return dlls::run(count, arguments); }

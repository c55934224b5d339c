// What keeping to a JSON schema costs a token: the mask alone, over texts that satisfy the schema.
//
//     bench_constrained MODEL [rounds=20] [seed=1]
//
// One line a schema: the grammar's making, the first mask's (with what a vocabulary pays once, in
// the first line), and the mean and the longest of all later ones, alternated over the texts.
#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "base/random.hpp"
#include "model/constraint.hpp"
#include "model/gguf.hpp"
#include "model/json_schema.hpp"

namespace dlls {
namespace {

using clock = std::chrono::steady_clock;

double ms_since(clock::time_point start) {
  return std::chrono::duration<double, std::milli>(clock::now() - start).count();
}

struct question {
  std::string name, schema;
  std::vector<std::string> texts;
};

std::string sentence(base::random_source& random) {
  constexpr std::string_view words[] = {"the",  "quick", "answer", "of",     "a \\\"model\\\"",
                                        "that", "keeps", "to",     "schema", "caf\xC3\xA9",
                                        "1984", "and",   "more",   "often",  "interesting"};
  std::string made = "It";
  for (auto n = 3 + random.below(15); n > 0; --n) (made += ' ') += words[random.below(15)];
  return made + '.';
}

std::vector<question> questions(base::random_source& random) {
  question flat{
      "person",
      R"({"type":"object","properties":{"name":{"type":"string"},
    "age":{"type":"integer"},"email":{"type":["string","null"]},
    "role":{"enum":["admin","author","reader"]}},"required":["name","age","email","role"]})",
      {}};
  question list{
      "steps",
      R"({"type":"object","properties":{"steps":{"type":"array","items":{
    "type":"object","properties":{"explanation":{"type":"string"},"output":{"type":"string"},
    "score":{"type":"number"}},"required":["explanation","output","score"]}},
    "final":{"type":"string"}},"required":["steps","final"]})",
      {}};
  question tree{
      "tree",
      R"({"$defs":{"n":{"type":"object","properties":{"label":{"type":"string"},
    "children":{"type":"array","items":{"$ref":"#/$defs/n"}}},"required":["label","children"]}},
    "$ref":"#/$defs/n"})",
      {}};
  question any{"json_object", std::string{model::any_json_object}, {}};
  question many{"alternatives", R"({"anyOf":[)", {}};
  for (int i = 0; i < 200; ++i)
    many.schema += fmt::format(
        R"({}{{"type":"object","properties":{{"kind":{{"const":"kind {}"}},"text":{{"type":)"
        R"("string"}}}},"required":["kind","text"]}})",
        i ? "," : "", i);
  many.schema += "]}";
  for (int i = 0; i < 8; ++i) {
    flat.texts.push_back(fmt::format(
        R"({{"name": "{}", "age": {}, "email": null, "role": "author"}})", sentence(random),
        random.below(99)));
    std::string steps;
    for (int j = 0; j < 3; ++j)
      steps += fmt::format(
          "{}{{\n  \"explanation\": \"{}\",\n  \"output\": \"{}\",\n  \"score\": {}.5\n}}",
          j ? ", " : "", sentence(random), sentence(random), random.below(9));
    list.texts.push_back(
        fmt::format(R"({{"steps": [{}], "final": "{}"}})", steps, sentence(random)));
    tree.texts.push_back(fmt::format(
        R"({{"label":"{}","children":[{{"label":"{}","children":[]}},)"
        R"({{"label":"x","children":[]}}]}})",
        sentence(random), sentence(random)));
    any.texts.push_back(list.texts.back());
    many.texts.push_back(
        fmt::format(R"({{"kind": "kind {}", "text": "{}"}})", 7 * i, sentence(random)));
  }
  return {flat, list, tree, any, many};
}

void ask(
    const std::shared_ptr<const model::tokenizer>& vocabulary,
    const std::shared_ptr<const model::token_masks>& masks, const question& q, std::size_t rounds) {
  auto start = clock::now();
  const auto rules =
      std::make_shared<const model::grammar>(model::json_schema_grammar(q.schema).value());
  const auto compile_ms = ms_since(start);
  std::vector<float> logits(vocabulary->vocab_size());
  double first_ms = 0, sum_ms = 0, longest_ms = 0, compute_ms = 0;
  std::size_t tokens = 0;
  for (std::size_t round = 0; round < rounds; ++round)
    for (const auto& text : q.texts) {
      model::constrained_text state{{rules, masks}};
      for (const auto id : vocabulary->encode(text, false)) {
        std::ranges::fill(logits, 0.0f);
        start = clock::now();
        state.restrict(logits, vocabulary->end_tokens());
        const auto took = ms_since(start);
        start = clock::now();
        if (logits[static_cast<std::size_t>(id)] != 0 || !state.add(id)) {
          fmt::print(stderr, "{}: '{}' may not come\n", q.name, vocabulary->piece(id));
          std::exit(1);
        }
        compute_ms += ms_since(start);
        if (first_ms == 0) {
          first_ms = took;
        } else {
          sum_ms += took;
          longest_ms = std::max(longest_ms, took);
          ++tokens;
        }
      }
    }
  fmt::print(
      "schema={} states={} compile_ms={:.3f} first_ms={:.2f} tokens={} mask_ms={:.4f} "
      "longest_ms={:.2f} add_ms={:.4f}\n",
      q.name, rules->size(), compile_ms, first_ms, tokens, sum_ms / static_cast<double>(tokens),
      longest_ms, compute_ms / static_cast<double>(tokens));
}

}  // namespace
}  // namespace dlls

int main(int argc, char** argv) {
  using namespace dlls;
  if (argc < 2) return fmt::print(stderr, "bench_constrained MODEL [rounds=20] [seed=1]\n"), 2;
  std::size_t rounds = 20, seed = 1;
  for (int i = 2; i < argc; ++i) {
    const std::string_view argument{argv[i]};
    for (auto [name, into] :
         {std::pair<std::string_view, std::size_t*>{"rounds=", &rounds}, {"seed=", &seed}})
      if (argument.starts_with(name)) *into = std::strtoull(argv[i] + name.size(), nullptr, 10);
  }
  const auto file = model::gguf_file::open(argv[1]);
  if (!file) return fmt::print(stderr, "{}\n", file.error().text()), 1;
  const auto vocabulary = model::tokenizer::from(**file).value();
  const auto masks = std::make_shared<const model::token_masks>(vocabulary);
  base::random_source random(seed);
  fmt::print("vocabulary={} seed={}\n", vocabulary->vocab_size(), seed);
  for (const auto& q : questions(random)) ask(vocabulary, masks, q, rounds);
  return 0;
}

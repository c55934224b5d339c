// Our forward pass against llama.cpp's on the same file (reference/inference/README.md).
#include <boost/json.hpp>
#include <catch2/catch.hpp>
#include <cmath>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "base/file.hpp"
#include "kernels/dispatch.hpp"
#include "kernels/ops.hpp"
#include "kernels/parallel.hpp"
#include "model/gguf.hpp"
#include "model/llama.hpp"
#include "tests/support/reference.hpp"

namespace dlls {
namespace {

namespace json = boost::json;
using model::activations;
using model::token_id;

json::value read_reference(const char* name) {
  const auto text = base::read_file(test::reference_folder() / "inference" / name);
  REQUIRE(text);
  return json::parse(*text);
}

template <class T>
std::vector<T> numbers(const json::value& from) {
  return json::value_to<std::vector<T>>(from);
}

// The model is loaded once for each kind of activations.
std::shared_ptr<const model::llama> load(activations how) {
  static std::map<activations, std::shared_ptr<const model::llama>> loaded;
  auto& entry = loaded[how];
  if (entry) return entry;
  const auto path = test::test_model();
  if (!path) return nullptr;
  const auto file = model::gguf_file::open(*path);
  REQUIRE(file);
  const auto made = model::llama::load(*file, how);
  REQUIRE(made);
  return entry = *made;
}

struct continuation {
  std::vector<token_id> prompt;
  std::vector<token_id> output;
  std::vector<double> margin;
};

// Feeds the reference's own tokens and compares what we would have chosen at each step, wherever
// the reference was sure by at least `margin`.
void check_choices(activations how, const continuation& expected, double margin) {
  const auto llama = load(how);
  if (!llama) return;
  kernels::thread_pool pool;
  model::kv_cache cache(llama->config(), 256, llama->kv_type());
  std::vector<float> logits(llama->config().vocab);
  model::forward(*llama, cache, expected.prompt, logits, pool);
  std::size_t compared = 0;
  for (std::size_t i = 0; i < expected.output.size(); ++i) {
    const auto best = std::max_element(logits.begin(), logits.end()) - logits.begin();
    if (expected.margin[i] >= margin) {
      INFO("step " << i << ", margin " << expected.margin[i]);
      CHECK(best == expected.output[i]);
      ++compared;
    }
    model::forward(*llama, cache, std::span(&expected.output[i], 1), logits, pool);
  }
  CHECK(compared > 0);
}

template <class Fn>
void for_each_greedy_case(const char* output, const char* margin, Fn fn) {
  const auto all = read_reference("greedy.json");
  for (const char* kind : {"raw", "chat"})
    for (const auto& entry : all.at(kind).as_array())
      fn(continuation{
          numbers<token_id>(entry.at("prompt_ids")), numbers<token_id>(entry.at(output)),
          numbers<double>(entry.at(margin))});
}

void check_top_logits(
    const model::llama& llama, const json::value& entry, const char* set, double tolerance) {
  kernels::thread_pool pool;
  model::kv_cache cache(llama.config(), 256, llama.kv_type());
  std::vector<float> logits(llama.config().vocab);
  model::forward(llama, cache, numbers<token_id>(entry.at("prompt_ids")), logits, pool);
  const auto& reference = entry.at(set);
  const auto ids = numbers<std::size_t>(reference.at("ids"));
  const auto values = numbers<double>(reference.at("logits"));
  const auto logprobs = numbers<double>(reference.at("logprobs"));
  const double log_sum = kernels::log_sum_exp(logits.data(), logits.size());
  INFO("prompt " << entry.at("name").as_string().c_str() << ", set " << set);
  for (std::size_t i = 0; i < ids.size(); ++i) {
    CHECK(logits[ids[i]] == Approx(values[i]).margin(tolerance));
    CHECK(logits[ids[i]] - log_sum == Approx(logprobs[i]).margin(tolerance));
  }
  CHECK(log_sum == Approx(reference.at("logsumexp").to_number<double>()).margin(tolerance));
}

TEST_CASE("with exact activations the model chooses what the exact reference chooses") {
  for_each_greedy_case("f32_output_ids", "f32_margin", [](const continuation& c) {
    check_choices(activations::f32, c, 0.02);
  });
}

TEST_CASE("with quantised activations the model chooses what the reference is sure of") {
  for_each_greedy_case("output_ids", "margin", [](const continuation& c) {
    check_choices(activations::q8, c, 0.5);
  });
}

TEST_CASE("with exact activations the ten highest logits are the exact reference's") {
  const auto llama = load(activations::f32);
  if (!llama) return;
  const auto all = read_reference("logits_top10.json");
  for (const auto& entry : all.as_array()) check_top_logits(*llama, entry, "f32", 1e-2);
}

std::vector<float> logits_after(activations how, const json::value& entry) {
  const auto llama = load(how);
  if (!llama) return {};
  kernels::thread_pool pool;
  model::kv_cache cache(llama->config(), 256, llama->kv_type());
  std::vector<float> logits(llama->config().vocab);
  model::forward(*llama, cache, numbers<token_id>(entry.at("prompt_ids")), logits, pool);
  return logits;
}

// The file's exact logits hold ten tokens; ours, which the test above ties to them, hold all.
TEST_CASE("with quantised activations the logits are as near as the reference's own") {
  const auto all = read_reference("logits_top10.json");
  for (const auto& entry : all.as_array()) {
    const auto logits = logits_after(activations::q8, entry);
    const auto exact = logits_after(activations::f32, entry);
    if (logits.empty()) return;
    const auto ids = numbers<std::size_t>(entry.at("q4_1").at("ids"));
    const auto values = numbers<double>(entry.at("q4_1").at("logits"));
    for (std::size_t i = 0; i < ids.size(); ++i) {
      const double ours = logits[ids[i]], truth = exact[ids[i]];
      INFO(
          entry.at("name").as_string().c_str()
          << ", token " << ids[i] << ": " << ours << ", reference " << values[i] << ", exact "
          << truth);
      CHECK(
          (std::fabs(ours - values[i]) <= 0.5 ||
           std::fabs(ours - truth) <= std::fabs(values[i] - truth)));
    }
  }
}

}  // namespace
}  // namespace dlls

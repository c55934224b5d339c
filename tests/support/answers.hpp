// A model to answer by, and what it answers alone.
#pragma once
#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <vector>

#include "kernels/parallel.hpp"
#include "model/generate.hpp"
#include "model/llama.hpp"
#include "tests/support/temp_folder.hpp"
#include "tests/support/tiny_model.hpp"

namespace dlls::test {

struct loaded_tiny_model {
  std::shared_ptr<const model::llama> weights;
  std::shared_ptr<const model::tokenizer> vocabulary;

  explicit loaded_tiny_model(
      const tiny_model_options& options = {}, model::activations how = model::activations::f32) {
    const temp_folder folder;
    REQUIRE(write_tiny_model(folder / "m.gguf", options));
    const auto file = model::gguf_file::open(folder / "m.gguf").value();
    weights = model::llama::load(file, how).value();
    vocabulary = model::tokenizer::from(*file).value();
  }
};

struct answer {
  std::string text;
  std::vector<model::token_id> tokens;
  model::finish_reason reason = model::finish_reason::none;
  friend bool operator==(const answer&, const answer&) = default;
};

inline answer answer_alone(
    const loaded_tiny_model& on, const model::generation_request& request,
    std::optional<kernels::element> cache_type = {}) {
  kernels::thread_pool pool(1);
  auto made = model::generation::start(on.weights, on.vocabulary, request, cache_type).value();
  answer seen;
  while (!made.finished())
    if (const auto delta = made.step(pool)) {
      seen.text += delta->text;
      seen.tokens.push_back(delta->token);
    }
  seen.reason = made.reason();
  return seen;
}

}  // namespace dlls::test

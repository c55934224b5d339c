// An engine on a tiny model, what is asked of it, and what it has given so far.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/random.hpp"
#include "kernels/parallel.hpp"
#include "model/engine.hpp"
#include "tests/support/answers.hpp"

namespace dlls::test {

struct loaded : loaded_tiny_model {
  explicit loaded(const tiny_model_options& options)
      : loaded_tiny_model(options, model::activations::q8) {}
  std::unique_ptr<model::engine> make(
      model::engine_limits limits, std::uint32_t pages = 1000) const {
    limits.cache_bytes = pages * model::kv_pool::page_bytes(weights->config(), weights->kv_type());
    return model::engine::make(weights, vocabulary, limits).value();
  }
};

inline const tiny_model_options tiny{
    .type = model::tensor_type::q4_1, .dim = 64, .heads = 4, .kv_heads = 2, .context = 2048};

inline model::generation_request ask(
    std::vector<model::token_id> prompt, std::uint32_t max_tokens) {
  model::generation_request request;
  request.prompt = std::move(prompt);
  request.max_tokens = max_tokens;
  request.how.temperature = 0;
  request.ignore_end = true;
  return request;
}

inline std::vector<model::token_id> prompt_of(std::size_t n, std::uint64_t seed) {
  base::random_source random(seed);
  std::vector<model::token_id> made(n);
  for (auto& id : made) id = static_cast<model::token_id>(random.below(280));
  return made;
}

// A generation_request or an embedding_request.
template <class Request>
model::engine::sequence_id add(
    model::engine& e, const Request& request, const std::string& owner = "a") {
  return e.add(e.begin(request).value(), owner).value();
}

struct engine_answer : answer {
  std::vector<float> embedding;
};
using engine_answers = std::map<model::engine::sequence_id, engine_answer>;

// One step; what it made is added to `seen`.
inline std::size_t step(model::engine& e, engine_answers& seen) {
  kernels::thread_pool pool(2);
  const auto made = e.step(pool);
  for (const auto& one : made) {
    auto& a = seen[one.who];
    a.text += one.delta.text;
    if (one.embedding.empty()) a.tokens.push_back(one.delta.token);
    a.embedding = one.embedding;
    a.reason = one.reason;
  }
  return made.size();
}

inline engine_answers run(model::engine& e) {
  engine_answers seen;
  while (!e.idle()) step(e, seen);
  return seen;
}

}  // namespace dlls::test

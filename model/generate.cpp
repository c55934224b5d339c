#include "model/generate.hpp"

#include <algorithm>
#include <new>
#include <utility>

#include "model/kv_cache.hpp"
#include "model/llama.hpp"

namespace dlls::model {

struct generation::state {
  std::shared_ptr<const llama> model;
  sequence answer;
  kv_cache cache;
  std::vector<float> logits;  // (vocab of the model)

  state(std::shared_ptr<const llama> m, sequence s, kernels::element cache_type)
      : model(std::move(m)),
        answer(std::move(s)),
        cache(model->config(), answer.tokens_max(), cache_type),
        logits(model->config().vocab) {}

  // Whether logits for a next token are there afterwards.
  bool advance(kernels::thread_pool& pool) {
    const auto left = answer.tokens().subspan(cache.size());
    const auto chunk = left.first(std::min<std::size_t>(left.size(), prefill_chunk_tokens));
    const bool last = chunk.size() == left.size();
    forward(*model, cache, chunk, last ? std::span{logits} : std::span<float>{}, pool);
    return last;
  }
};

generation::generation(std::unique_ptr<state> s) noexcept : state_(std::move(s)) {}
generation::generation(generation&&) noexcept = default;
generation& generation::operator=(generation&&) noexcept = default;
generation::~generation() = default;

base::result<generation> generation::start(
    std::shared_ptr<const llama> model, std::shared_ptr<const tokenizer> vocabulary,
    generation_request request, std::optional<kernels::element> cache_type) {
  const auto type = model->kv_type(cache_type);
  if (!type) return type.error();
  auto answer = sequence::begin(model->config(), std::move(vocabulary), std::move(request));
  if (!answer) return answer.error();
  try {
    return generation{std::make_unique<state>(std::move(model), std::move(*answer), *type)};
  } catch (const std::bad_alloc&) {
    return base::error{
        base::errc::resource_exhausted, "not enough memory for the generation's key-value cache",
        "ask for fewer tokens or try again when others have finished"};
  }
}

std::optional<generated_delta> generation::step(kernels::thread_pool& pool) {
  if (finished() || !state_->advance(pool)) return std::nullopt;
  return state_->answer.accept(state_->logits);
}

finish_reason generation::reason() const noexcept { return state_->answer.reason(); }
generation_usage generation::usage() const noexcept { return state_->answer.usage(); }

float generation::prefilled() const noexcept {
  return std::min(
      1.0f,
      static_cast<float>(state_->cache.size()) / static_cast<float>(state_->answer.prompt_size()));
}

}  // namespace dlls::model

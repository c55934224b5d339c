// One generation alone: prompt ids in, pieces of text out, one token a step. For many at once see
// engine.hpp.
//
// Pull style, so that the caller can do other things, or stop, between two steps:
//     auto g = generation::start(model, vocabulary, request);
//     while (!g->finished()) if (auto d = g->step(pool)) send(d->text);
#pragma once
#include <cstdint>
#include <memory>
#include <optional>

#include "base/error.hpp"
#include "kernels/element.hpp"
#include "model/sequence.hpp"

namespace dlls::kernels {
class thread_pool;
}

namespace dlls::model {

class llama;

// Prompt tokens taken in one step: small enough that a step stays below about a second on two
// cores, large enough for full-speed matrix products.
inline constexpr std::uint32_t prefill_chunk_tokens = 256;

// Owns its key-value cache; shares the model. One thread at a time.
class generation {
 public:
  // As sequence::begin; resource_exhausted: no memory for the cache. `cache_type`: of its numbers,
  // as llama::kv_type has it.
  static base::result<generation> start(
      std::shared_ptr<const llama> model, std::shared_ptr<const tokenizer> vocabulary,
      generation_request request, std::optional<kernels::element> cache_type = {});
  generation(generation&&) noexcept;
  generation& operator=(generation&&) noexcept;
  ~generation();

  // Takes in the next chunk of the prompt (no value), or makes one token (a delta). The step that
  // takes the prompt's last chunk makes the first token as well. No value once finished.
  std::optional<generated_delta> step(kernels::thread_pool& pool);

  bool finished() const noexcept { return reason() != finish_reason::none; }
  finish_reason reason() const noexcept;
  generation_usage usage() const noexcept;
  // Share of the prompt taken in, 0 to 1.
  float prefilled() const noexcept;

 private:
  struct state;
  explicit generation(std::unique_ptr<state> s) noexcept;
  std::unique_ptr<state> state_;
};

}  // namespace dlls::model

// One generation: prompt ids in, pieces of text out, one token a step.
//
// Pull style, so that a scheduler can interleave many and cancel any between two steps:
//     auto g = generation::start(model, vocabulary, request);
//     while (!g->finished()) if (auto d = g->step(pool)) send(d->text);
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "model/sampler.hpp"
#include "model/stop_watch.hpp"
#include "model/token.hpp"
#include "model/tokenizer.hpp"

namespace dlls::kernels {
class thread_pool;
}

namespace dlls::model {

class llama;

// Prompt tokens taken in one step: small enough that a step stays below about a second on two
// cores, large enough for full-speed matrix products.
inline constexpr std::uint32_t prefill_chunk_tokens = 256;

struct generation_request {
  std::vector<token_id> prompt;             // at least one; bos() included if the model wants it
  std::optional<std::uint32_t> max_tokens;  // none: until the context is full
  sampling how;
  std::vector<std::string> stop;          // text that ends the answer and is no part of it
  std::optional<std::uint32_t> logprobs;  // wanted: the token's own and this many of the likeliest
  std::vector<token_id> end_tokens;       // empty: the tokenizer's end_tokens()
  bool ignore_end = false;                // go on past end tokens (benchmarks)
};

struct generated_logprobs {
  float logprob = 0;  // of the token chosen, in the model's own distribution
  std::vector<token_logprob> top;
};

struct generated_delta {
  // Well-formed UTF-8 that is certain by now: empty while a character or a possible stop string is
  // incomplete; the last delta carries what was held back, unless a stop string swallowed it.
  std::string text;
  token_id token = no_token;  // what was chosen in this step; an end token in the last, maybe
  std::optional<generated_logprobs> logprobs;
};

enum class finish_reason { none, stop, length };
// "stop" or "length", OpenAI's words; "" for none.
std::string_view name(finish_reason reason) noexcept;

struct generation_usage {
  std::uint32_t prompt_tokens = 0;
  std::uint32_t completion_tokens = 0;  // chosen so far, an end token included
};

// Owns its key-value cache and its sampler; shares the model. Penalties look at the tokens chosen
// so far, not at the prompt, as in the OpenAI API. One thread at a time.
class generation {
 public:
  // invalid_argument: an empty prompt, an id outside the vocabulary, a prompt that leaves no room
  // in the model's context (the message carries both numbers), max_tokens of 0, more than 16 stop
  // strings or one that is empty or no UTF-8, or sampling settings out of range. corrupt: a
  // tokenizer with more tokens than the model. resource_exhausted: no memory for the cache.
  static base::result<generation> start(
      std::shared_ptr<const llama> model, std::shared_ptr<const tokenizer> vocabulary,
      generation_request request);
  generation(generation&&) noexcept;
  generation& operator=(generation&&) noexcept;
  ~generation();

  // Takes in the next chunk of the prompt (no value), or makes one token (a delta). The step that
  // takes the prompt's last chunk makes the first token as well. No value once finished.
  std::optional<generated_delta> step(kernels::thread_pool& pool);

  bool finished() const noexcept { return reason() != finish_reason::none; }
  // stop: an end token or a stop string; length: max_tokens or the context is used up.
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

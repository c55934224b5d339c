// One answer in the making: what was asked, what has been chosen so far, and what of it is certain
// text. No model and no cache: whoever computes the logits calls accept(), one token a call.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "model/constraint.hpp"
#include "model/detokenizer.hpp"
#include "model/llama_config.hpp"
#include "model/sampler.hpp"
#include "model/stop_watch.hpp"
#include "model/token.hpp"
#include "model/tokenizer.hpp"

namespace dlls::model {

struct generation_request {
  std::vector<token_id> prompt;             // at least one; bos() included if the model wants it
  std::optional<std::uint32_t> max_tokens;  // none: until the context is full
  sampling how;
  std::vector<std::string> stop;          // text that ends the answer and is no part of it
  std::optional<std::uint32_t> logprobs;  // wanted: the token's own and this many of the likeliest
  std::vector<token_id> end_tokens;       // empty: the tokenizer's end_tokens()
  bool ignore_end = false;                // go on past end tokens (benchmarks)
  std::optional<constraint> form;         // the answer keeps to it; of the same vocabulary
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

// Penalties look at the tokens chosen so far, not at the prompt, as in the OpenAI API. Movable, one
// thread at a time.
class sequence {
 public:
  // too_long: a prompt that leaves no room in the model's context (the message carries both
  // numbers). invalid_argument: an empty prompt, an id outside the vocabulary, max_tokens of 0,
  // more than 16 stop strings or one that is empty or no UTF-8, or sampling settings out of range.
  // corrupt: a tokenizer with more tokens than the model.
  static base::result<sequence> begin(
      const llama_config& config, std::shared_ptr<const tokenizer> vocabulary,
      generation_request request);

  // Prompt and answer so far.
  std::span<const token_id> tokens() const noexcept { return tokens_; }
  std::uint32_t prompt_size() const noexcept { return prompt_; }
  // The answer's length at most; the longest that tokens() can become.
  std::uint32_t tokens_max() const noexcept { return prompt_ + answer_max_; }

  // The next token, from the logits (vocab) that follow tokens(); they are scratch afterwards. Not
  // after the end.
  generated_delta accept(std::span<float> logits);

  bool finished() const noexcept { return reason_ != finish_reason::none; }
  // stop: an end token, a stop string, or a form that is complete and that nothing can follow.
  // length: max_tokens or the context is used up, or no token of the vocabulary fits the form:
  // then the answer is incomplete.
  finish_reason reason() const noexcept { return reason_; }
  generation_usage usage() const noexcept {
    return {prompt_, static_cast<std::uint32_t>(tokens_.size()) - prompt_};
  }

 private:
  sequence(
      std::shared_ptr<const tokenizer> vocabulary, generation_request request,
      std::uint32_t answer_max);

  token_id choose(std::span<float> logits);
  finish_reason reason_after(token_id token, bool ends);

  std::shared_ptr<const tokenizer> vocabulary_;
  std::vector<token_id> tokens_;
  std::uint32_t prompt_;
  std::uint32_t answer_max_;
  std::optional<std::uint32_t> logprobs_;
  std::vector<token_id> end_tokens_;
  bool ignore_end_;
  std::optional<constrained_text> form_;
  sampler chooser_;
  detokenizer text_;
  stop_watch watch_;
  std::vector<float> raw_;  // a row before penalties, where logprobs are wanted
  finish_reason reason_ = finish_reason::none;
};

}  // namespace dlls::model

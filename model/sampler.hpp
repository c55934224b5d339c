// From a row of logits to the next token.
#pragma once
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "base/error.hpp"
#include "base/random.hpp"
#include "model/token.hpp"

namespace dlls::model {

// In the order in which they take effect. The defaults change nothing and draw from the model's
// own distribution.
struct sampling {
  std::vector<std::pair<token_id, float>> logit_bias;  // added to the logits; ids outside: ignored
  float repetition_penalty = 1;  // of tokens seen: logit / p if positive, else * p (Keskar 2019)
  float frequency_penalty = 0;   // logit -= p * (times seen), as in the OpenAI API
  float presence_penalty = 0;    // logit -= p if seen at all
  float temperature = 1;         // 0: greedy, the largest logit; ties go to the smallest id
  int top_k = 0;                 // the k likeliest only; 0: all
  float top_p = 1;               // the likeliest that reach this share together (Holtzman 2020)
  float min_p = 0;               // those with at least this share of the likeliest's probability
  std::uint64_t seed = 0;        // the same seed, logits and history give the same tokens

  // invalid_argument, naming the field, for values outside: temperature 0..10, top_p (0..1],
  // min_p 0..1, repetition_penalty (0..10], the other penalties -2..2, top_k >= 0, finite biases of
  // at most 100.
  base::result<> valid() const;
};

struct token_logprob {
  token_id token = no_token;
  float logprob = 0;  // natural logarithm
};

// One stream's sampler: holds its random state and its scratch. One thread at a time.
class sampler {
 public:
  // `how` must be valid().
  explicit sampler(sampling how);

  // `logits` (vocab) is scratch afterwards. `history`: the tokens that penalties look at, prompt
  // included or not as the caller likes. Logits that are NaN are never chosen; where nothing else
  // is there (a broken model), the answer is token 0.
  token_id pick(std::span<float> logits, std::span<const token_id> history);

  const sampling& settings() const noexcept { return how_; }

 private:
  void penalise(std::span<float> logits, std::span<const token_id> history);
  token_id draw(std::span<const float> logits);

  sampling how_;
  base::random_source random_;
  std::vector<token_logprob> candidates_;
  std::vector<std::uint32_t> seen_;  // (vocab) times in history, zero between calls
};

// The model's own distribution, before any of the above: log softmax of the row.
double log_sum_exp(std::span<const float> logits) noexcept;
float logprob_of(std::span<const float> logits, token_id token) noexcept;
// The k likeliest, in falling order; ties by smaller id. Fewer when the row is shorter.
std::vector<token_logprob> top_logprobs(std::span<const float> logits, std::size_t k);

}  // namespace dlls::model

// Guesses how a text goes on by where it has said the same before (Saxena 2023, prompt lookup
// decoding): quotations, code, lists repeat themselves. Guesses cost nothing but the rows in which
// the model checks them.
#pragma once
#include <cstdint>
#include <span>
#include <unordered_map>

#include "model/token.hpp"

namespace dlls::model {

// Of one sequence, which only grows. One thread at a time.
class prompt_lookup {
 public:
  // At most `most` tokens that may follow `tokens`: those that followed the last three when they
  // stood together before, most recently. Good until `tokens` change. Empty: they never did, or
  // guessing has not been worth it lately.
  std::span<const token_id> guess(std::span<const token_id> tokens, std::size_t most);
  // How many of the last guess were right.
  void learn(std::size_t guessed, std::size_t right) noexcept;

 private:
  std::unordered_map<std::uint64_t, std::uint32_t>
      seen_;                   // three tokens: where the next one stands
  std::uint32_t indexed_ = 0;  // tokens
  float right_ = 1;            // share of the guesses, lately
  std::uint32_t pause_ = 0;    // guesses that are left out
};

}  // namespace dlls::model

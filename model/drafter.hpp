// Guesses how answers go on with a smaller model of the same vocabulary (Leviathan et al. 2023,
// speculative decoding). The large model checks several guessed tokens in a pass that takes hardly
// longer than one for a single token; whatever the small one says, the answer is the large one's.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/error.hpp"
#include "model/forward_scratch.hpp"
#include "model/kv_cache.hpp"
#include "model/llama.hpp"
#include "model/token.hpp"
#include "model/tokenizer.hpp"

namespace dlls::model {

struct draft_model {
  std::shared_ptr<const llama> weights;
  std::shared_ptr<const tokenizer> vocabulary;
};

// How many tokens to guess, at most `most`, when each is right with a chance of `right` (0..1,
// given that those before it are) and costs `cost` passes of the large model: the number that gives
// the most tokens in a time, (1 - right^(n+1)) / (1 - right) of them in 1 + n cost passes
// (Leviathan et al., theorem 3.8). 0: that is less than a tenth more than without.
std::size_t draft_length(double right, double cost, std::size_t most) noexcept;

// One thread at a time, with all its texts.
class drafter {
 public:
  // What the small model has taken in of one answer, and how well it guesses there.
  class text {
   public:
    // What follows the tokens of the last guess(), until settle().
    std::span<const token_id> guessed() const noexcept { return guessed_; }

   private:
    friend class drafter;
    explicit text(std::shared_ptr<kv_pool> pool) : cache_(std::move(pool)) {}

    kv_cache cache_;
    std::vector<token_id> guessed_;
    std::size_t known_ = 0;  // tokens before the first guessed one
    double right_;           // chance of the next guess, as far as one can tell
    std::uint32_t pause_ = 0;
  };

  // invalid_argument: its vocabulary is not `vocabulary`; corrupt: nor its own model's.
  static base::result<> fits(const draft_model& draft, const tokenizer& vocabulary);
  // Of the small model's cache. Its type is the one wanted, or the model's own where it can't be.
  static std::uint64_t page_bytes(
      const draft_model& draft, std::optional<kernels::element> cache_type);
  // For a model that it fits, of `target_bytes`. Throws std::bad_alloc.
  drafter(
      draft_model draft, std::uint64_t target_bytes, std::optional<kernels::element> cache_type,
      std::uint32_t pages);

  text begin() const;
  struct request {
    text* of;
    std::span<const token_id> tokens;  // so far
    std::size_t most;                  // to guess
  };
  // Guesses for all of them in common passes. A text that the small model has not taken in yet
  // comes to that piece by piece, with nothing guessed meanwhile. Nor where the cache or the small
  // model's context is full, or guessing has not been worth it lately. Sorts `asked`.
  void guess(std::span<request> asked, kernels::thread_pool& pool);
  // Compares with what came, `tokens` now, and forgets what was wrong.
  void settle(text& of, std::span<const token_id> tokens);

  // Memory of texts that are gone.
  void trim() { pool_->trim(); }

 private:
  struct going {
    text* of;
    std::size_t length;  // to guess
  };

  std::size_t length_for(const request& one) const noexcept;
  void take_in(request& one, std::size_t length, std::size_t& room);
  void one_pass(kernels::thread_pool& pool);
  void learn(text& of, std::span<const token_id> came) const noexcept;

  const draft_model draft_;
  const double cost_;
  const std::shared_ptr<kv_pool> pool_;

  // Of the pass at hand.
  forward_scratch scratch_;
  std::vector<forward_part> parts_;
  std::vector<going> going_;   // those with a row of logits, in the order of parts_
  std::vector<float> logits_;  // (rows, vocab)
};

}  // namespace dlls::model

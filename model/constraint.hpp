// Answers that keep to a grammar: what may not come next is taken out of the model's choice.
#pragma once
#include <memory>
#include <span>

#include "model/grammar.hpp"
#include "model/grammar_matcher.hpp"
#include "model/token.hpp"
#include "model/token_masks.hpp"

namespace dlls::model {

// A grammar for one vocabulary. Immutable, shared by any number of answers.
struct constraint {
  std::shared_ptr<const grammar> rules;
  std::shared_ptr<const token_masks> masks;
};

// One answer's state: a function of its tokens alone. One thread at a time.
class constrained_text {
 public:
  explicit constrained_text(constraint by);

  // -infinity for every token that may not come next. `ends` (special tokens or not) may come where
  // the text is complete, and only there. False: nothing may come.
  bool restrict(std::span<float> logits, std::span<const token_id> ends);
  // False, and no change: it may not come here.
  bool add(token_id token);
  // The text is whole; and nothing can be added to it.
  bool complete() const noexcept { return text_.complete(); }
  bool finished() const noexcept { return text_.complete() && !text_.open(); }

 private:
  std::shared_ptr<const token_masks> masks_;
  grammar_matcher text_;
  token_set allowed_;
};

}  // namespace dlls::model

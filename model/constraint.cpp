#include "model/constraint.hpp"

#include <utility>

namespace dlls::model {

constrained_text::constrained_text(constraint by)
    : masks_(std::move(by.masks)),
      text_(std::move(by.rules)),
      allowed_(masks_->vocabulary()->vocab_size()) {}

bool constrained_text::restrict(std::span<float> logits, std::span<const token_id> ends) {
  masks_->allowed(text_, allowed_);
  for (const auto id : ends) {
    if (id < 0 || static_cast<std::size_t>(id) >= logits.size()) continue;
    text_.complete() ? allowed_.add(id) : allowed_.remove(id);
  }
  allowed_.forbid_others(logits);
  return !allowed_.empty();
}

bool constrained_text::add(token_id token) {
  const auto& vocabulary = *masks_->vocabulary();
  const auto bytes = vocabulary.piece(token);
  bool good = !bytes.empty() && !vocabulary.is_special(token);
  for (std::size_t i = 0; good && i < bytes.size(); ++i)
    good = text_.push(static_cast<std::uint8_t>(bytes[i]));
  if (good)
    text_.commit();
  else
    while (text_.pushed() > 0) text_.pop();
  return good;
}

}  // namespace dlls::model

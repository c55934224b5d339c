#include "model/prompt_lookup.hpp"

#include <algorithm>

namespace dlls::model {
namespace {

constexpr std::size_t together = 3;
// Below this share of right ones the rows cost more than they bring; then it pauses, and tries
// anew.
constexpr float worth_it = 0.2f;
constexpr std::uint32_t pause_steps = 64;

// Token ids are below 2^22 (llama_config.cpp).
std::uint64_t key_of(std::span<const token_id> three) {
  std::uint64_t key = 0;
  for (const auto id : three) key = key << 21 ^ static_cast<std::uint64_t>(id);
  return key;
}

}  // namespace

std::span<const token_id> prompt_lookup::guess(std::span<const token_id> tokens, std::size_t most) {
  // Where the last three stand must not be found, only where they stood.
  for (; indexed_ + together < tokens.size(); ++indexed_)
    seen_[key_of(tokens.subspan(indexed_, together))] =
        static_cast<std::uint32_t>(indexed_ + together);
  if (most == 0 || tokens.size() <= together) return {};
  if (pause_ > 0) {
    --pause_;
    return {};
  }
  const auto last = tokens.last(together);
  const auto found = seen_.find(key_of(last));
  if (found == seen_.end()) return {};
  // Keys may collide; three other tokens are no reason to guess.
  if (!std::ranges::equal(last, tokens.subspan(found->second - together, together))) return {};
  const auto next = tokens.subspan(found->second);
  return next.first(std::min(most, next.size()));
}

void prompt_lookup::learn(std::size_t guessed, std::size_t right) noexcept {
  if (guessed == 0) return;
  right_ = 0.75f * right_ + 0.25f * static_cast<float>(right) / static_cast<float>(guessed);
  if (right_ >= worth_it) return;
  pause_ = pause_steps;
  right_ = 2 * worth_it;
}

}  // namespace dlls::model

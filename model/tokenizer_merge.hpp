// The merging loop that both kinds of BPE share. Internal to model/tokenizer*.cpp.
#pragma once
#include <cstdint>
#include <optional>
#include <queue>
#include <utility>
#include <vector>

#include "model/token.hpp"

namespace dlls::model {

// One position of a word while it is merged. Neighbours are linked by index, so that joining two is
// O(1); -1 ends the chain. A symbol that was joined to its left neighbour has no bytes left.
struct merge_symbol {
  std::int32_t previous = -1, next = -1;
  std::uint32_t start = 0, bytes = 0;  // in the word
  token_id id = no_token;
};

// Joins the best pair of neighbours, the leftmost of equals first, until none can be joined.
// `joined(left, right)` gives {priority, id of the joined token}, smaller priority first, or
// nothing. O(n log n): every join makes at most two new candidates, and a candidate that has become
// stale is recognised by the lengths it was made for.
template <class Joined>
void merge_all(std::vector<merge_symbol>& symbols, Joined&& joined) {
  struct candidate {
    double priority;
    std::int32_t left, right;
    std::uint32_t bytes;
    token_id id;
    bool operator<(const candidate& other) const noexcept {  // std::priority_queue's top is largest
      return std::pair{priority, left} > std::pair{other.priority, other.left};
    }
  };
  std::priority_queue<candidate> queue;
  auto consider = [&](std::int32_t left, std::int32_t right) {
    if (left < 0 || right < 0) return;
    const auto& a = symbols[left];
    const auto& b = symbols[right];
    if (const std::optional<std::pair<double, token_id>> found = joined(a, b))
      queue.push({found->first, left, right, a.bytes + b.bytes, found->second});
  };
  for (std::size_t i = 1; i < symbols.size(); ++i)
    consider(static_cast<std::int32_t>(i) - 1, static_cast<std::int32_t>(i));
  while (!queue.empty()) {
    const auto best = queue.top();
    queue.pop();
    auto& a = symbols[best.left];
    auto& b = symbols[best.right];
    if (a.bytes == 0 || b.bytes == 0 || a.next != best.right || a.bytes + b.bytes != best.bytes)
      continue;
    a.bytes += std::exchange(b.bytes, 0);
    a.id = best.id;
    a.next = b.next;
    if (b.next >= 0) symbols[b.next].previous = best.left;
    consider(a.previous, best.left);
    consider(best.left, a.next);
  }
}

}  // namespace dlls::model

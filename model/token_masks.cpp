#include "model/token_masks.hpp"

#include <algorithm>
#include <limits>
#include <utility>

namespace dlls::model {
namespace {

// Calls `visit` for every node in [first, last) whose bytes, from its topmost one there, the
// matcher accepts; the matcher stands behind them then.
template <class Visit>
void walk(
    grammar_matcher& matcher, std::span<const token_trie::node> nodes, std::size_t first,
    std::size_t last, Visit visit) {
  if (first == last) return;
  const auto pushed = matcher.pushed();
  const std::size_t top = nodes[first].depth;
  for (auto at = first; at < last;) {
    while (matcher.pushed() - pushed > nodes[at].depth - top) matcher.pop();
    if (matcher.push(nodes[at].byte)) {
      visit(at);
      ++at;
    } else {
      at = nodes[at].end;
    }
  }
  while (matcher.pushed() > pushed) matcher.pop();
}

}  // namespace

bool token_set::empty() const noexcept {
  return std::ranges::all_of(words_, [](auto w) { return w == 0; });
}

void token_set::clear() noexcept { std::ranges::fill(words_, 0); }

token_set& token_set::operator|=(const token_set& other) noexcept {
  for (std::size_t i = 0; i < words_.size(); ++i) words_[i] |= other.words_[i];
  return *this;
}

void token_set::forbid_others(std::span<float> logits) const noexcept {
  constexpr auto never = -std::numeric_limits<float>::infinity();
  for (std::size_t begin = 0; begin < logits.size(); begin += 64) {
    const auto some = logits.subspan(begin, std::min<std::size_t>(64, logits.size() - begin));
    const auto word = words_[begin / 64];
    if (word == 0) {
      std::ranges::fill(some, never);
    } else if (word != ~std::uint64_t{0}) {
      for (std::size_t i = 0; i < some.size(); ++i)
        if ((word >> i & 1) == 0) some[i] = never;
    }
  }
}

token_masks::token_masks(std::shared_ptr<const tokenizer> vocabulary)
    : vocabulary_(std::move(vocabulary)) {}

void token_masks::prepare() const {
  std::call_once(built_, [this] { trie_ = std::make_unique<const token_trie>(*vocabulary_); });
}

const token_masks::kept& token_masks::kept_for(
    const grammar_matcher& at, grammar_state state) const {
  {
    const std::scoped_lock lock{mutex_};
    if (const auto found = kept_.find(state); found != kept_.end()) return *found->second;
  }
  auto made = std::make_unique<kept>(kept{token_set{vocabulary_->vocab_size()}, {}});
  grammar_matcher alone{at.shared_rules(), state};
  alone.push_only({alone.places().begin(), 1});  // the rules that it calls have places of their own
  walk(alone, trie_->nodes(), 0, trie_->nodes().size(), [&](std::size_t node) {
    for (const auto id : trie_->tokens(node)) made->tokens.add(id);
    if (alone.complete()) made->exits.push_back(static_cast<std::uint32_t>(node));
  });
  const std::scoped_lock lock{mutex_};
  return *kept_.try_emplace(state, std::move(made)).first->second;
}

void token_masks::allowed(grammar_matcher& at, token_set& out) const {
  prepare();
  const auto nodes = trie_->nodes();
  const auto add = [&](std::size_t node) {
    for (const auto id : trie_->tokens(node)) out.add(id);
  };
  out.clear();
  const std::vector<grammar_matcher::place> places(at.places().begin(), at.places().end());
  std::vector<grammar_matcher::place> others;
  for (const auto& place : places) {
    if (at.rules().edges(place.state).empty()) continue;
    if (place.state >= at.rules().shared()) {
      others.push_back(place);
      continue;
    }
    const auto& own = kept_for(at, place.state);
    out |= own.tokens;
    if (place.in == 0) continue;
    at.push_end(place.in);
    for (const auto node : own.exits) walk(at, nodes, node + 1, nodes[node].end, add);
    at.pop();
  }
  if (others.empty()) return;
  at.push_only(others);
  walk(at, nodes, 0, nodes.size(), add);
  at.pop();
}

}  // namespace dlls::model

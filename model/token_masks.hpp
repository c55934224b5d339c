// Which tokens of a vocabulary may come next in a text that a grammar governs.
//
// The vocabulary's bytes (token_trie.hpp) are walked together with the grammar. Nearly every state
// lets few bytes through, so that the walk is short; inside a string it is not. But what a string
// lets through until its end does not depend on what is around it, nor on the schema: for
// grammar::shared() states it is kept, and only tokens that reach past the end are tried anew.
#pragma once
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <unordered_map>
#include <vector>

#include "model/grammar_matcher.hpp"
#include "model/token_trie.hpp"
#include "model/tokenizer.hpp"

namespace dlls::model {

class token_set {
 public:
  explicit token_set(std::size_t vocabulary_size) : words_((vocabulary_size + 63) / 64) {}
  void add(token_id id) noexcept { words_[word(id)] |= bit(id); }
  void remove(token_id id) noexcept { words_[word(id)] &= ~bit(id); }
  bool has(token_id id) const noexcept { return (words_[word(id)] & bit(id)) != 0; }
  bool empty() const noexcept;
  void clear() noexcept;
  token_set& operator|=(const token_set& other) noexcept;  // of one vocabulary
  // -infinity for all that are not in it.
  void forbid_others(std::span<float> logits) const noexcept;

 private:
  static std::size_t word(token_id id) noexcept { return static_cast<std::size_t>(id) / 64; }
  static std::uint64_t bit(token_id id) noexcept { return std::uint64_t{1} << (id % 64); }
  std::vector<std::uint64_t> words_;
};

// One a vocabulary, shared by everything that generates with it; any number of threads. All
// grammars that it sees have the same shared() states.
class token_masks {
 public:
  explicit token_masks(std::shared_ptr<const tokenizer> vocabulary);

  const std::shared_ptr<const tokenizer>& vocabulary() const noexcept { return vocabulary_; }
  // Builds what is built once, if nobody has yet: tens of milliseconds. Else the first
  // allowed() does.
  void prepare() const;
  // Tokens all of whose bytes the matcher accepts in a row, into `out` (of this vocabulary). No
  // special ones. The matcher is as before afterwards.
  void allowed(grammar_matcher& at, token_set& out) const;

 private:
  // What a state lets through within its own rule, and the nodes at which that ends.
  struct kept {
    token_set tokens;
    std::vector<std::uint32_t> exits;
  };
  const kept& kept_for(const grammar_matcher& at, grammar_state state) const;

  std::shared_ptr<const tokenizer> vocabulary_;
  mutable std::once_flag built_;
  mutable std::unique_ptr<const token_trie> trie_;
  mutable std::mutex mutex_;  // of what follows; entries stay where they are
  mutable std::unordered_map<grammar_state, std::unique_ptr<const kept>> kept_;
};

}  // namespace dlls::model

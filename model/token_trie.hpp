// A vocabulary as a tree of bytes: what is common to many tokens is looked at once.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "model/token.hpp"
#include "model/tokenizer.hpp"

namespace dlls::model {

// Immutable: any number of threads may use one. Tokens that stand for no bytes, and special ones,
// are not in it.
class token_trie {
 public:
  // A beginning of tokens. Nodes are in the order of their bytes, each before what goes on from it.
  struct node {
    std::uint32_t end;     // the first node after this one that does not begin with it
    std::uint32_t tokens;  // where those that end here begin in tokens_
    std::uint16_t depth;   // bytes, this one included
    std::uint8_t byte;
  };

  explicit token_trie(const tokenizer& vocabulary);

  std::span<const node> nodes() const noexcept {
    return std::span{nodes_}.first(nodes_.size() - 1);
  }
  // The tokens whose last byte this node is; several may stand for the same bytes.
  std::span<const token_id> tokens(std::size_t at) const noexcept {
    return {tokens_.data() + nodes_[at].tokens, tokens_.data() + nodes_[at + 1].tokens};
  }

 private:
  std::vector<node> nodes_;  // and one more that bounds the last one's tokens
  std::vector<token_id> tokens_;
};

}  // namespace dlls::model

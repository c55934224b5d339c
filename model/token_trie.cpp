#include "model/token_trie.hpp"

#include <algorithm>
#include <limits>
#include <string_view>
#include <utility>

namespace dlls::model {

token_trie::token_trie(const tokenizer& vocabulary) {
  std::vector<std::pair<std::string_view, token_id>> sorted;
  for (token_id id = 0; static_cast<std::size_t>(id) < vocabulary.vocab_size(); ++id) {
    const auto bytes = vocabulary.piece(id);
    if (!vocabulary.is_special(id) && !bytes.empty() &&
        bytes.size() <= std::numeric_limits<std::uint16_t>::max())
      sorted.emplace_back(bytes, id);
  }
  std::ranges::sort(sorted);
  std::vector<std::uint32_t> open;  // the nodes that spell the token before
  const auto close_to = [&](std::size_t depth) {
    for (; open.size() > depth; open.pop_back())
      nodes_[open.back()].end = static_cast<std::uint32_t>(nodes_.size());
  };
  std::string_view before;
  for (const auto& [bytes, id] : sorted) {
    const auto common =
        static_cast<std::size_t>(std::ranges::mismatch(before, bytes).in1 - before.begin());
    close_to(common);
    for (auto at = common; at < bytes.size(); ++at) {
      open.push_back(static_cast<std::uint32_t>(nodes_.size()));
      nodes_.push_back(
          {0, static_cast<std::uint32_t>(tokens_.size()), static_cast<std::uint16_t>(at + 1),
           static_cast<std::uint8_t>(bytes[at])});
    }
    tokens_.push_back(id);
    before = bytes;
  }
  close_to(0);
  nodes_.push_back(
      {static_cast<std::uint32_t>(nodes_.size()), static_cast<std::uint32_t>(tokens_.size()), 0,
       0});
}

}  // namespace dlls::model

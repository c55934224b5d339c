// Byte-level BPE, as GPT-2 introduced it: text is bytes, each byte a printable symbol, and pairs of
// symbols are merged in the order in which training found them.
#include <fmt/core.h>

#include <array>
#include <bit>
#include <limits>
#include <utility>

#include "model/gguf.hpp"
#include "model/tokenizer_merge.hpp"
#include "model/tokenizer_parts.hpp"
#include "model/tokenizer_unicode.hpp"
#include "model/tokenizer_words.hpp"

namespace dlls::model {
namespace {
using base::errc;
using base::error;

// Printable bytes stand for themselves, the others for U+0100 and up, in order.
constexpr std::array<std::uint16_t, 256> byte_symbols = [] {
  std::array<std::uint16_t, 256> made{};
  std::uint16_t next = 256;
  for (unsigned b = 0; b < 256; ++b) {
    const bool printable = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
    made[b] = printable ? static_cast<std::uint16_t>(b) : next++;
  }
  return made;
}();
constexpr std::size_t symbols_end = 256 + 68;  // 68 bytes are not printable

std::string symbol_text(unsigned byte) {  // at most U+0143: one or two bytes of UTF-8
  const unsigned code = byte_symbols[byte];
  if (code < 0x80) return std::string(1, static_cast<char>(code));
  return {static_cast<char>(0xC0 | code >> 6), static_cast<char>(0x80 | (code & 0x3F))};
}

// Which pairs merge: open addressing with linear probing, at most half full. std::unordered_map
// takes a third of the encoder's time; this a tenth.
class merge_table {
 public:
  struct entry {
    std::uint64_t key = empty;
    std::uint32_t rank = 0;
    token_id id = no_token;
  };
  explicit merge_table(std::size_t merges)
      : entries_(std::bit_ceil(2 * merges + 2)), shift_(64 - std::countr_zero(entries_.size())) {}

  // The first of equal pairs stays.
  void add(token_id a, token_id b, std::uint32_t rank, token_id both) {
    auto& e = entries_[slot(key_of(a, b))];
    if (e.key == empty) e = {key_of(a, b), rank, both};
  }
  // nullptr for a pair that doesn't merge.
  const entry* find(token_id a, token_id b) const noexcept {
    const auto& e = entries_[slot(key_of(a, b))];
    return e.key == empty ? nullptr : &e;
  }

 private:
  static constexpr std::uint64_t empty = ~std::uint64_t{0};  // ids are below 2^31
  static std::uint64_t key_of(token_id a, token_id b) noexcept {
    return static_cast<std::uint64_t>(static_cast<std::uint32_t>(a)) << 32 |
           static_cast<std::uint32_t>(b);
  }
  // Where the key is or belongs.
  std::size_t slot(std::uint64_t key) const noexcept {
    auto at = static_cast<std::size_t>(key * 0x9E3779B97F4A7C15u >> shift_);
    while (entries_[at].key != key && entries_[at].key != empty) at = (at + 1) % entries_.size();
    return at;
  }

  std::vector<entry> entries_;
  int shift_;
};

class bpe_encoder final : public text_encoder {
 public:
  bpe_encoder(const vocabulary& tokens, word_pattern pattern, std::size_t merges)
      : tokens_(tokens), pattern_(pattern), merges_(merges) {
    for (unsigned b = 0; b < 256; ++b) byte_ids_[b] = tokens.find(symbol_text(b));
  }

  base::result<> learn(std::string_view merge, std::uint32_t rank) {
    const auto space = merge.find(' ', 1);
    if (space == merge.npos) return error{errc::corrupt, fmt::format("merge {} is no pair", rank)};
    const auto left = merge.substr(0, space), right = merge.substr(space + 1);
    const auto a = tokens_.find(left), b = tokens_.find(right);
    const auto both = tokens_.find(std::string{left} + std::string{right});
    if (a == no_token || b == no_token || both == no_token)
      return error{errc::corrupt, fmt::format("merge {} is of unknown tokens", rank)};
    merges_.add(a, b, rank, both);
    return {};
  }

  void encode(std::string_view text, bool, std::vector<token_id>& ids) const override {
    std::vector<merge_symbol> symbols;
    word_cutter words{pattern_, text};
    for (auto word = words.next(); !word.empty(); word = words.next())
      encode_word(word, symbols, ids);
  }

  std::string piece(std::string_view name, token_kind) const override {
    static const auto bytes_of = [] {
      std::array<int, symbols_end> made{};
      made.fill(-1);
      for (unsigned b = 0; b < 256; ++b) made[byte_symbols[b]] = static_cast<int>(b);
      return made;
    }();
    std::string bytes;
    for (std::size_t at = 0; at < name.size();) {
      const auto c = unicode::at(name, at);
      if (c.code < symbols_end && bytes_of[c.code] >= 0)
        bytes += static_cast<char>(bytes_of[c.code]);
      else  // not in the alphabet: the token means its own text
        bytes += name.substr(at, c.bytes);
      at += c.bytes;
    }
    return bytes;
  }

 private:
  void encode_word(
      std::string_view word, std::vector<merge_symbol>& symbols, std::vector<token_id>& ids) const {
    if (pattern_ == word_pattern::llama3 || pattern_ == word_pattern::tekken) {  // ignore_merges
      if (const auto whole = find_whole(word); whole != no_token) return ids.push_back(whole);
    }
    word.size() <= short_bytes_max ? encode_short(word, ids) : encode_long(word, symbols, ids);
  }

  // Looks for the best pair anew each time: for the words of ordinary text that beats any queue.
  void encode_short(std::string_view word, std::vector<token_id>& ids) const {
    constexpr auto never = std::numeric_limits<std::uint32_t>::max();
    token_id symbols[short_bytes_max];
    const merge_table::entry* joins[short_bytes_max];  // of a symbol and the next
    std::size_t count = 0;
    for (const char c : word) symbols[count++] = byte_ids_[static_cast<unsigned char>(c)];
    for (std::size_t i = 0; i + 1 < count; ++i) joins[i] = merges_.find(symbols[i], symbols[i + 1]);
    while (count > 1) {
      std::size_t best = 0;
      std::uint32_t best_rank = never;
      for (std::size_t i = 0; i + 1 < count; ++i)
        if (joins[i] != nullptr && joins[i]->rank < best_rank) best = i, best_rank = joins[i]->rank;
      if (best_rank == never) break;
      symbols[best] = joins[best]->id;
      --count;
      for (auto i = best + 1; i < count; ++i) symbols[i] = symbols[i + 1];
      for (auto i = best + 1; i + 1 < count; ++i) joins[i] = joins[i + 1];
      if (best > 0) joins[best - 1] = merges_.find(symbols[best - 1], symbols[best]);
      if (best + 1 < count) joins[best] = merges_.find(symbols[best], symbols[best + 1]);
    }
    for (std::size_t i = 0; i < count; ++i)
      if (symbols[i] != no_token) ids.push_back(symbols[i]);
  }

  void encode_long(
      std::string_view word, std::vector<merge_symbol>& symbols, std::vector<token_id>& ids) const {
    symbols.clear();
    for (std::size_t i = 0; i < word.size(); ++i) {
      merge_symbol s;
      s.previous = static_cast<std::int32_t>(symbols.size()) - 1;
      s.next = s.previous + 2;
      s.bytes = 1;
      s.id = byte_ids_[static_cast<unsigned char>(word[i])];
      symbols.push_back(s);
    }
    symbols.back().next = -1;
    merge_all(
        symbols,
        [this](const merge_symbol& a, const merge_symbol& b)
            -> std::optional<std::pair<double, token_id>> {
          const auto* found = merges_.find(a.id, b.id);
          if (found == nullptr) return std::nullopt;
          return std::pair{static_cast<double>(found->rank), found->id};
        });
    for (const auto& s : symbols)
      if (s.bytes != 0 && s.id != no_token) ids.push_back(s.id);
  }

  token_id find_whole(std::string_view word) const {
    if (word.size() > whole_bytes_max) return no_token;
    std::string name;
    for (const char c : word) name += symbol_text(static_cast<unsigned char>(c));
    return tokens_.find(name);
  }

  static constexpr std::size_t whole_bytes_max = 512;  // no token is longer
  static constexpr std::size_t short_bytes_max = 48;
  const vocabulary& tokens_;
  word_pattern pattern_;
  std::array<token_id, 256> byte_ids_{};
  merge_table merges_;
};
}  // namespace

base::result<std::unique_ptr<const text_encoder>> make_bpe_encoder(
    const gguf_file& file, const vocabulary& tokens) {
  const auto name = file.get_string("tokenizer.ggml.pre", "");
  if (!name) return name.error();
  const auto pattern = word_pattern_of(*name);
  if (!pattern)
    return error{
        errc::unsupported, fmt::format("pre-tokenizer '{}' is not built in", *name),
        "smollm, gpt-2, llama-bpe, qwen2 and tekken are"};
  const auto merges = file.get_strings("tokenizer.ggml.merges");
  if (!merges) return merges.error();
  auto made = std::make_unique<bpe_encoder>(tokens, *pattern, merges->size());
  for (std::uint32_t rank = 0; rank < merges->size(); ++rank)
    if (auto learned = made->learn((*merges)[rank], rank); !learned) return learned.error();
  return std::unique_ptr<const text_encoder>{std::move(made)};
}

}  // namespace dlls::model

// SentencePiece's BPE (Kudo, Richardson 2018), as LLaMA 2 uses it: characters are joined to the
// token with the best score; a character without a token becomes its bytes.
#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "model/gguf.hpp"
#include "model/tokenizer_merge.hpp"
#include "model/tokenizer_parts.hpp"
#include "model/tokenizer_unicode.hpp"

namespace dlls::model {
namespace {
using base::errc;
using base::error;

constexpr std::string_view space_mark = "\xE2\x96\x81";  // U+2581 stands for a space

std::string replace_all(std::string_view text, std::string_view from, std::string_view to) {
  std::string out;
  for (;;) {
    const auto at = text.find(from);
    out += text.substr(0, at);
    if (at == text.npos) return out;
    out += to;
    text.remove_prefix(at + from.size());
  }
}

// The byte of a token named "<0x0A>"; -1 for any other name.
int byte_of(std::string_view name) {
  if (name.size() != 6 || !name.starts_with("<0x") || name[5] != '>') return -1;
  int value = 0;
  for (const char c : name.substr(3, 2)) {
    const auto digit = std::string_view{"0123456789ABCDEF"}.find(c);
    if (digit == std::string_view::npos) return -1;
    value = value * 16 + static_cast<int>(digit);
  }
  return value;
}

class sentencepiece_encoder final : public text_encoder {
 public:
  sentencepiece_encoder(const vocabulary& tokens, std::vector<float> scores, bool add_space)
      : tokens_(tokens), scores_(std::move(scores)), add_space_(add_space) {
    byte_ids_.fill(no_token);
    for (std::size_t id = 0; id < tokens.size(); ++id) {
      token_bytes_max_ = std::max(token_bytes_max_, tokens.names[id].size());
      const auto byte = tokens.kinds[id] == token_kind::byte ? byte_of(tokens.names[id]) : -1;
      if (byte >= 0) byte_ids_[byte] = static_cast<token_id>(id);
      if (tokens.kinds[id] == token_kind::unknown) unknown_ = static_cast<token_id>(id);
    }
  }

  void encode(std::string_view text, bool fresh, std::vector<token_id>& ids) const override {
    auto marked = replace_all(text, " ", space_mark);
    if (fresh && add_space_) marked.insert(0, space_mark);
    const std::string_view whole = marked;

    std::vector<merge_symbol> symbols;
    for (std::uint32_t at = 0; at < whole.size(); at += symbols.back().bytes) {
      merge_symbol s;
      s.previous = static_cast<std::int32_t>(symbols.size()) - 1;
      s.next = s.previous + 2;
      s.start = at;
      s.bytes = unicode::at(whole, at).bytes;
      s.id = find(whole.substr(at, s.bytes));
      symbols.push_back(s);
    }
    if (symbols.empty()) return;
    symbols.back().next = -1;
    merge_all(
        symbols,
        [&](const merge_symbol& a,
            const merge_symbol& b) -> std::optional<std::pair<double, token_id>> {
          if (a.bytes + b.bytes > token_bytes_max_) return std::nullopt;
          const auto id = find(whole.substr(a.start, a.bytes + b.bytes));
          if (id == no_token) return std::nullopt;
          return std::pair{-static_cast<double>(scores_[id]), id};  // the best score first
        });
    for (const auto& s : symbols) {
      if (s.bytes == 0) continue;
      s.id != no_token ? ids.push_back(s.id) : spell(whole.substr(s.start, s.bytes), ids);
    }
  }

  std::string piece(std::string_view name, token_kind kind) const override {
    if (const auto byte = kind == token_kind::byte ? byte_of(name) : -1; byte >= 0)
      return std::string(1, static_cast<char>(byte));
    return replace_all(name, space_mark, " ");
  }

  bool adds_space() const noexcept override { return add_space_; }

 private:
  token_id find(std::string_view text) const {
    const auto id = tokens_.find(text);
    // A name written out in a text is no control token: those come from special_finder.
    const bool usable = id != no_token && (tokens_.kinds[id] == token_kind::normal ||
                                           tokens_.kinds[id] == token_kind::user_defined);
    return usable ? id : no_token;
  }
  void spell(std::string_view character, std::vector<token_id>& ids) const {
    for (const char c : character) {
      const auto id = byte_ids_[static_cast<unsigned char>(c)];
      if (id != no_token)
        ids.push_back(id);
      else if (unknown_ != no_token)
        ids.push_back(unknown_);
    }
  }

  const vocabulary& tokens_;
  std::vector<float> scores_;
  bool add_space_;
  std::size_t token_bytes_max_ = 0;
  std::array<token_id, 256> byte_ids_{};
  token_id unknown_ = no_token;
};
}  // namespace

base::result<std::unique_ptr<const text_encoder>> make_sentencepiece_encoder(
    const gguf_file& file, const vocabulary& tokens) {
  auto scores = file.get_f32s("tokenizer.ggml.scores");
  if (!scores) return scores.error();
  if (scores->size() != tokens.size())
    return error{
        errc::corrupt,
        fmt::format("{} tokens, but {} token scores", tokens.size(), scores->size())};
  if (std::ranges::any_of(*scores, [](float s) { return std::isnan(s); }))
    return error{errc::corrupt, "a token's score is no number"};
  const auto add_space = file.get_bool("tokenizer.ggml.add_space_prefix", true);
  if (!add_space) return add_space.error();
  return std::unique_ptr<const text_encoder>{
      std::make_unique<sentencepiece_encoder>(tokens, *std::move(scores), *add_space)};
}

}  // namespace dlls::model

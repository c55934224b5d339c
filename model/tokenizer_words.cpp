#include "model/tokenizer_words.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "model/tokenizer_unicode.hpp"

namespace dlls::model {
namespace {
using unicode::char_class;
using unicode::character;
using unicode::letter_case;

// In all functions below `text` ends where the pattern may look no further, `from` is inside it,
// and the answer is the position after what was matched; `from` means no match.

std::size_t skip(
    std::string_view text, std::size_t from, char_class kind, std::size_t at_most = SIZE_MAX) {
  for (; at_most > 0; --at_most) {
    const auto c = unicode::at(text, from);
    if (c.bytes == 0 || c.kind != kind) break;
    from += c.bytes;
  }
  return from;
}

bool is_newline(std::string_view text, std::size_t at) {
  return at < text.size() && (text[at] == '\r' || text[at] == '\n');
}

// 's 't 're 've 'm 'll 'd
std::size_t contraction(std::string_view text, std::size_t from, bool any_case) {
  if (text[from] != '\'') return from;
  for (const std::string_view ending : {"s", "t", "re", "ve", "m", "ll", "d"}) {
    const auto there = text.substr(from + 1, ending.size());
    const bool same = std::ranges::equal(there, ending, [&](char have, char want) {
      return have == want || (any_case && have >= 'A' && have <= 'Z' && have + 32 == want);
    });
    if (same) return from + 1 + ending.size();
  }
  return from;
}

// \s+(?!\S)|\s+ : a run of spaces, without its last one if a word follows.
std::size_t spaces(std::string_view text, std::size_t from) {
  auto last = from, at = from;
  for (auto c = unicode::at(text, at); c.bytes != 0 && c.kind == char_class::space;
       c = unicode::at(text, at))
    last = std::exchange(at, at + c.bytes);
  return at < text.size() && last > from ? last : at;
}

std::size_t gpt2_word(std::string_view text, std::size_t from) {
  if (const auto end = contraction(text, from, false); end != from) return end;
  const auto start = from + (text[from] == ' ' ? 1 : 0);
  const auto c = unicode::at(text, start);
  if (c.bytes != 0 && c.kind != char_class::space) return skip(text, start, c.kind);
  return spaces(text, from);
}

// \s*[\r\n]+|\s+(?!\S)|\s+
std::size_t spaces_by_line(std::string_view text, std::size_t from) {
  const auto run = skip(text, from, char_class::space);
  const auto newline = text.substr(from, run - from).find_last_of("\r\n");
  return newline != text.npos ? from + newline + 1 : spaces(text, from);
}

std::size_t llama3_word(std::string_view text, std::size_t from, std::size_t digits_max) {
  if (const auto end = contraction(text, from, true); end != from) return end;
  const auto c = unicode::at(text, from);
  if (c.kind == char_class::letter) return skip(text, from, char_class::letter);
  if (c.kind == char_class::number) return skip(text, from, char_class::number, digits_max);
  if (!is_newline(text, from)) {  // [^\r\n\p{L}\p{N}]?\p{L}+
    const auto end = skip(text, from + c.bytes, char_class::letter);
    if (end != from + c.bytes) return end;
  }
  const auto start = from + (text[from] == ' ' ? 1 : 0);  // ` ?[^\s\p{L}\p{N}]+[\r\n]*`
  if (auto end = skip(text, start, char_class::other); end != start) {
    while (is_newline(text, end)) ++end;
    return end;
  }
  return spaces_by_line(text, from);
}

letter_case case_at(std::string_view text, std::size_t at) {
  const auto c = unicode::at(text, at);
  const bool broken = c.bytes == 1 && c.code >= 0x80;  // no UTF-8: the byte's number means nothing
  return c.bytes == 0 || broken ? letter_case::none : unicode::case_of(c.code);
}

// U*V+: as many of U as there are; where no lower-case letter follows them, the last that is in V
// too ends the word. A backtracking matcher would find the same.
std::size_t ends_lower(std::string_view text, std::size_t from) {
  auto at = from, last_both = from;
  for (auto kind = case_at(text, at); kind == letter_case::upper || kind == letter_case::both;
       kind = case_at(text, at)) {
    at += unicode::at(text, at).bytes;
    if (kind == letter_case::both) last_both = at;
  }
  auto end = at;
  for (auto kind = case_at(text, end); kind == letter_case::lower || kind == letter_case::both;
       kind = case_at(text, end))
    end += unicode::at(text, end).bytes;
  return end != at ? end : last_both;
}

// U+V*, where U*V+ does not match: U+ alone.
std::size_t all_upper(std::string_view text, std::size_t from) {
  for (auto kind = case_at(text, from); kind == letter_case::upper || kind == letter_case::both;
       kind = case_at(text, from))
    from += unicode::at(text, from).bytes;
  return from;
}

std::size_t tekken_word(std::string_view text, std::size_t from) {
  const auto c = unicode::at(text, from);
  if (c.kind == char_class::number) return from + c.bytes;
  const bool leads = c.kind != char_class::letter && !is_newline(text, from);
  const auto behind = leads ? from + c.bytes : from;
  for (const auto match : {ends_lower, all_upper})  // with a character before it, then without
    for (const auto start : {behind, from})
      if (const auto end = match(text, start); end != start) return end;
  const auto start = from + (text[from] == ' ' ? 1 : 0);
  if (auto end = skip(text, start, char_class::other); end != start) {
    while (is_newline(text, end) || (end < text.size() && text[end] == '/')) ++end;
    return end;
  }
  return spaces_by_line(text, from);
}
}  // namespace

std::optional<word_pattern> word_pattern_of(std::string_view name) noexcept {
  if (name == "smollm") return word_pattern::smollm;
  if (name == "gpt-2") return word_pattern::gpt2;
  if (name == "llama-bpe" || name == "llama3" || name == "llama-v3") return word_pattern::llama3;
  if (name == "qwen2" || name == "deepseek-r1-qwen") return word_pattern::qwen2;
  if (name == "tekken") return word_pattern::tekken;
  return std::nullopt;
}

std::size_t word_cutter::next_smollm() noexcept {
  if (number_at_ <= at_) {
    number_at_ = at_;
    for (auto c = unicode::at(text_, number_at_); c.bytes != 0 && c.kind != char_class::number;
         c = unicode::at(text_, number_at_))
      number_at_ += c.bytes;
  }
  if (number_at_ == at_) return at_ + unicode::at(text_, at_).bytes;
  // The lookahead ends before the number, so spaces there stay together.
  return gpt2_word(text_.substr(0, number_at_), at_);
}

std::string_view word_cutter::next() noexcept {
  if (at_ >= text_.size()) return {};
  auto end = at_;
  switch (pattern_) {
    case word_pattern::gpt2:
      end = gpt2_word(text_, at_);
      break;
    case word_pattern::smollm:
      end = next_smollm();
      break;
    case word_pattern::llama3:
      end = llama3_word(text_, at_, 3);
      break;
    case word_pattern::qwen2:
      end = llama3_word(text_, at_, 1);
      break;
    case word_pattern::tekken:
      end = tekken_word(text_, at_);
      break;
  }
  const auto word = text_.substr(at_, end - at_);
  at_ = end;
  return word;
}

}  // namespace dlls::model

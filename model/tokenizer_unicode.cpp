#include "model/tokenizer_unicode.hpp"

#include <algorithm>
#include <array>

namespace dlls::model::unicode {
namespace {

bool contains(std::span<const code_range> ranges, std::uint32_t code) noexcept {
  const auto after = std::ranges::upper_bound(ranges, code, {}, &code_range::first);
  return after != ranges.begin() && code <= std::prev(after)->last;
}

// The White_Space property: what \s means in the tokenizers' patterns.
bool is_space(std::uint32_t code) noexcept {
  return (code >= 0x09 && code <= 0x0D) || code == 0x20 || code == 0x85 || code == 0xA0 ||
         code == 0x1680 || (code >= 0x2000 && code <= 0x200A) || code == 0x2028 || code == 0x2029 ||
         code == 0x202F || code == 0x205F || code == 0x3000;
}

char_class look_up(std::uint32_t code) noexcept {
  if (is_space(code)) return char_class::space;
  if (contains(letters(), code)) return char_class::letter;
  if (contains(numbers(), code)) return char_class::number;
  return char_class::other;
}

letter_case look_up_case(std::uint32_t code) noexcept {
  if (contains(uppers(), code)) return letter_case::upper;
  if (contains(lowers(), code)) return letter_case::lower;
  return contains(letters(), code) || contains(marks(), code) ? letter_case::both
                                                              : letter_case::none;
}

// What may follow a lead byte (Unicode 15.0, table 3-7); length 0 for a byte that can't lead.
struct lead {
  std::uint32_t length;
  unsigned second_min, second_max;
};
constexpr lead lead_of(unsigned byte) noexcept {
  if (byte < 0x80) return {1, 0, 0};
  if (byte < 0xC2) return {0, 0, 0};
  if (byte < 0xE0) return {2, 0x80, 0xBF};
  if (byte == 0xE0) return {3, 0xA0, 0xBF};
  if (byte == 0xED) return {3, 0x80, 0x9F};
  if (byte < 0xF0) return {3, 0x80, 0xBF};
  if (byte == 0xF0) return {4, 0x90, 0xBF};
  if (byte < 0xF4) return {4, 0x80, 0xBF};
  if (byte == 0xF4) return {4, 0x80, 0x8F};
  return {0, 0, 0};
}
}  // namespace

char_class classify(std::uint32_t code) noexcept {
  static const auto low = [] {
    std::array<char_class, 0x800> made{};
    for (std::uint32_t c = 0; c < made.size(); ++c) made[c] = look_up(c);
    return made;
  }();
  return code < low.size() ? low[code] : look_up(code);
}

letter_case case_of(std::uint32_t code) noexcept {
  static const auto low = [] {
    std::array<letter_case, 0x800> made{};
    for (std::uint32_t c = 0; c < made.size(); ++c) made[c] = look_up_case(c);
    return made;
  }();
  return code < low.size() ? low[code] : look_up_case(code);
}

utf8_prefix first_of(std::string_view text) noexcept {
  auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const auto [length, second_min, second_max] = lead_of(byte(0));
  if (length == 0) return {utf8_prefix::invalid, 1, 0};
  std::uint32_t code = length == 1 ? byte(0) : byte(0) & (0x7Fu >> length);
  for (std::uint32_t i = 1; i < length; ++i) {
    if (i == text.size()) return {utf8_prefix::incomplete, i, 0};
    const auto min = i == 1 ? second_min : 0x80u, max = i == 1 ? second_max : 0xBFu;
    if (byte(i) < min || byte(i) > max) return {utf8_prefix::invalid, i, 0};
    code = code << 6 | (byte(i) & 0x3F);
  }
  return {utf8_prefix::complete, length, code};
}

character at(std::string_view text, std::size_t position) noexcept {
  if (position >= text.size()) return {};
  const auto first = first_of(text.substr(position));
  if (first.state != utf8_prefix::complete)
    return {static_cast<unsigned char>(text[position]), 1, char_class::other};
  return {first.code, first.bytes, classify(first.code)};
}

}  // namespace dlls::model::unicode

// The little of Unicode that cutting text into words needs. Internal to model/tokenizer*.cpp and
// the detokenizer.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace dlls::model::unicode {

struct code_range {
  std::uint32_t first, last;  // both inside
};
// Sorted, disjoint; general categories L, N, Lu with Lt, Ll, M. From tools/unicode_table.py.
std::span<const code_range> letters() noexcept;
std::span<const code_range> numbers() noexcept;
std::span<const code_range> uppers() noexcept;
std::span<const code_range> lowers() noexcept;
std::span<const code_range> marks() noexcept;

enum class char_class : std::uint8_t { letter, number, space, other };
char_class classify(std::uint32_t code) noexcept;

// Letters by case; `both` have none (Lm, Lo) or are marks, and go with either.
enum class letter_case : std::uint8_t { none, upper, lower, both };
letter_case case_of(std::uint32_t code) noexcept;

// One character of a text. What is no well-formed UTF-8 counts as one byte of class `other`.
struct character {
  std::uint32_t code = 0;
  std::uint32_t bytes = 0;  // 0: end of text
  char_class kind = char_class::other;
};
character at(std::string_view text, std::size_t position) noexcept;

// How the bytes at the front of a text relate to UTF-8 (RFC 3629: no overlong forms, no surrogates,
// nothing above U+10FFFF).
struct utf8_prefix {
  enum { complete, incomplete, invalid } state = invalid;
  std::uint32_t bytes = 0;  // of the character; of what is there; of the maximal ill-formed part
  std::uint32_t code = 0;   // when complete
};
// `text` must not be empty. incomplete: the text ends inside what may still become a character.
utf8_prefix first_of(std::string_view text) noexcept;

}  // namespace dlls::model::unicode

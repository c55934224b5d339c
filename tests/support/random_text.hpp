// Well-formed UTF-8 of every kind that trips a tokenizer or a stream.
#pragma once
#include <cstdint>
#include <string>

#include "base/random.hpp"

namespace dlls::test {

inline void append_utf8(std::string& text, std::uint32_t code) {
  auto put = [&](std::uint32_t byte) { text += static_cast<char>(byte); };
  if (code < 0x80) return put(code);
  if (code < 0x800) return put(0xC0 | code >> 6), put(0x80 | (code & 0x3F));
  if (code < 0x10000) put(0xE0 | code >> 12);
  if (code >= 0x10000) put(0xF0 | code >> 18), put(0x80 | (code >> 12 & 0x3F));
  put(0x80 | (code >> 6 & 0x3F));
  put(0x80 | (code & 0x3F));
}

// Up to `characters_max` characters: letters, digits, spaces, punctuation, other scripts, emoji.
inline std::string random_utf8(base::random_source& random, std::uint64_t characters_max) {
  std::string text;
  for (auto left = random.below(characters_max + 1); left > 0; --left) {
    static constexpr char common[] = "etaoin shrdlu  '\n\t\r0123456789.,<|>_";
    std::uint32_t code = 0;
    switch (random.below(4)) {
      case 0:
        code = static_cast<std::uint32_t>(random.below(0x110000));
        break;
      case 1:
        code = static_cast<std::uint32_t>(0x80 + random.below(0x3000));
        break;
      default:
        code = static_cast<unsigned char>(common[random.below(sizeof common - 1)]);
    }
    if (code < 0xD800 || code > 0xDFFF) append_utf8(text, code);  // no surrogates
  }
  return text;
}

}  // namespace dlls::test

#include "base/encoding.hpp"

#include <openssl/evp.h>

namespace dlls::base {

std::string to_hex(std::span<const std::byte> bytes) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string text;
  text.reserve(bytes.size() * 2);
  for (auto b : bytes) {
    text += digits[static_cast<unsigned>(b) >> 4];
    text += digits[static_cast<unsigned>(b) & 15];
  }
  return text;
}

std::string to_base64(std::span<const std::byte> bytes) {
  std::string text((bytes.size() + 2) / 3 * 4 + 1, '\0');
  const int size = EVP_EncodeBlock(
      reinterpret_cast<unsigned char*>(text.data()),
      reinterpret_cast<const unsigned char*>(bytes.data()), static_cast<int>(bytes.size()));
  text.resize(static_cast<std::size_t>(size));
  return text;
}

std::string to_base64url(std::span<const std::byte> bytes) {
  auto text = to_base64(bytes);
  for (auto& c : text) c = c == '+' ? '-' : c == '/' ? '_' : c;
  while (!text.empty() && text.back() == '=') text.pop_back();
  return text;
}

namespace {
int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}
}  // namespace

result<std::vector<std::byte>> from_hex(std::string_view text) {
  if (text.size() % 2) return error{errc::invalid_argument, "hexadecimal text of odd length"};
  std::vector<std::byte> bytes;
  bytes.reserve(text.size() / 2);
  for (std::size_t i = 0; i < text.size(); i += 2) {
    const int high = hex_value(text[i]), low = hex_value(text[i + 1]);
    if (high < 0 || low < 0) return error{errc::invalid_argument, "not a hexadecimal digit"};
    bytes.push_back(static_cast<std::byte>(high << 4 | low));
  }
  return bytes;
}

result<std::vector<std::byte>> from_base64(std::string_view text) {
  std::size_t padding = 0;
  while (padding < 2 && padding < text.size() && text[text.size() - 1 - padding] == '=') ++padding;
  const bool bad_character = text.substr(0, text.size() - padding)
                                 .find_first_not_of(
                                     "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                     "0123456789+/") != text.npos;
  if (text.size() % 4 || bad_character) return error{errc::invalid_argument, "not base64"};
  std::vector<std::byte> bytes(text.size() / 4 * 3);
  const int size = EVP_DecodeBlock(
      reinterpret_cast<unsigned char*>(bytes.data()),
      reinterpret_cast<const unsigned char*>(text.data()), static_cast<int>(text.size()));
  if (size < 0) return error{errc::invalid_argument, "not base64"};
  bytes.resize(static_cast<std::size_t>(size) - padding);
  return bytes;
}

namespace {
// Bytes of the well-formed character that `bytes` begins with; 0 when it begins with none.
std::size_t character_bytes(std::string_view bytes) noexcept {
  auto at = [&](std::size_t k) { return static_cast<unsigned char>(bytes[k]); };
  if (bytes.empty()) return 0;
  const unsigned lead = at(0);
  const std::size_t length = lead < 0x80                   ? 1
                             : lead >= 0xC2 && lead < 0xE0 ? 2
                             : lead >= 0xE0 && lead < 0xF0 ? 3
                             : lead >= 0xF0 && lead < 0xF5 ? 4
                                                           : 0;
  if (length > bytes.size()) return 0;
  for (std::size_t k = 1; k < length; ++k)
    if ((at(k) & 0xC0) != 0x80) return 0;
  // Table 3-7 of the Unicode Standard: the second byte's range depends on the first.
  if (length > 2) {
    const unsigned second = at(1);
    if ((lead == 0xE0 && second < 0xA0) || (lead == 0xED && second > 0x9F) ||
        (lead == 0xF0 && second < 0x90) || (lead == 0xF4 && second > 0x8F))
      return 0;
  }
  return length;
}
}  // namespace

std::size_t utf8_prefix(std::string_view bytes) noexcept {
  std::size_t i = 0;
  while (const auto length = character_bytes(bytes.substr(i))) i += length;
  return i;
}

bool is_utf8(std::string_view bytes) noexcept { return utf8_prefix(bytes) == bytes.size(); }

std::string clip_utf8(std::string_view text, std::size_t bytes_max) {
  constexpr std::string_view replacement = "\xEF\xBF\xBD";
  std::string clipped;
  while (!text.empty()) {
    const auto length = character_bytes(text);
    const auto character = length ? text.substr(0, length) : replacement;
    text.remove_prefix(length ? length : 1);
    if (character.front() == '\0') continue;
    if (clipped.size() + character.size() > bytes_max) break;
    clipped += character;
  }
  return clipped;
}

}  // namespace dlls::base

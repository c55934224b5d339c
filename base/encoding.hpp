// Bytes as text: hexadecimal (lower case), base64 (RFC 4648, with padding) and UTF-8.
#pragma once
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"

namespace dlls::base {

std::string to_hex(std::span<const std::byte> bytes);
std::string to_base64(std::span<const std::byte> bytes);
// The URL-safe alphabet without padding (RFC 4648, section 5).
std::string to_base64url(std::span<const std::byte> bytes);
// invalid_argument for any character outside the alphabet or a wrong length.
result<std::vector<std::byte>> from_hex(std::string_view text);
result<std::vector<std::byte>> from_base64(std::string_view text);
// True when `bytes` is well-formed UTF-8 (no overlong forms, no surrogates).
bool is_utf8(std::string_view bytes) noexcept;
// Bytes of the longest beginning that is whole, well-formed characters. When four bytes or more
// are left, or when nothing follows, what is left is malformed; else it may be a character that
// the next piece completes.
std::size_t utf8_prefix(std::string_view bytes) noexcept;
// At most `bytes_max` bytes of a text from outside, fit for JSON, a log line and the ledger: never
// half a character, without NUL, and with U+FFFD for each byte that is malformed.
std::string clip_utf8(std::string_view text, std::size_t bytes_max);

}  // namespace dlls::base

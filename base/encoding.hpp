// Bytes as text: hexadecimal (lower case) and base64 (RFC 4648, with padding).
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

}  // namespace dlls::base

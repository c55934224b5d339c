// Small text helpers of the HTTP side: ASCII case, lists, percent-encoding, URLs.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.hpp"

namespace dlls::gateway::detail {

bool equal_ignoring_case(std::string_view a, std::string_view b) noexcept;
std::string lower(std::string_view text);
// Without spaces and tabs at both ends.
std::string_view trimmed(std::string_view text) noexcept;
// `item` stands in a comma-separated list, case ignored.
bool has_list_item(std::string_view list, std::string_view item) noexcept;

// None for a bad escape or a NUL.
std::optional<std::string> percent_decoded(std::string_view text, bool plus_is_space = false);
// All but RFC 3986's unreserved characters encoded.
std::string percent_encoded(std::string_view text);

// "a=1&b=2", decoded, in order. None for a bad escape; at most 64 pairs.
using query_pairs = std::vector<std::pair<std::string, std::string>>;
std::optional<query_pairs> parse_query(std::string_view text);

// Digits only, no sign, no overflow.
std::optional<std::uint64_t> parse_unsigned(std::string_view digits) noexcept;

// `text` with each byte that is not part of well-formed UTF-8 replaced by U+FFFD.
std::string valid_utf8(std::string_view text);

// An absolute http(s) URL in its parts.
struct url {
  bool tls = false;
  std::string host;  // a name or an IP address, without brackets, lower case
  std::uint16_t port = 0;
  std::string target;  // path and query, "/" at least
  // "host", "[::1]:8443": as the Host field wants it.
  std::string host_field() const;
};
// invalid_argument: another scheme, user information, a fragment, no or odd host, bad port, a
// character that must be encoded, longer than 2048.
base::result<url> parse_url(std::string_view text);

}  // namespace dlls::gateway::detail

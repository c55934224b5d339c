#include "gateway/detail/text.hpp"

#include <algorithm>
#include <charconv>
#include <limits>

#include "base/encoding.hpp"

namespace dlls::gateway::detail {
namespace {

constexpr std::size_t query_pairs_max = 64;
constexpr std::size_t url_bytes_max = 2048;

char lower_char(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  c = lower_char(c);
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool is_unreserved(char c) {
  const char l = lower_char(c);
  return (l >= 'a' && l <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' ||
         c == '~';
}

base::error bad_url(std::string why) {
  return {base::errc::invalid_argument, "not a usable URL: " + std::move(why)};
}

// "host", "host:port", "[v6]" or "[v6]:port" into the URL.
base::result<> parse_authority(std::string_view text, url& into) {
  std::string_view port;
  if (text.starts_with('[')) {
    const auto end = text.find(']');
    if (end == std::string_view::npos) return bad_url("'[' without ']'");
    into.host = lower(text.substr(1, end - 1));
    const auto odd = [](char c) { return hex_digit(c) < 0 && c != ':' && c != '.'; };
    if (into.host.find(':') == std::string::npos ||
        std::any_of(into.host.begin(), into.host.end(), odd))
      return bad_url("no IPv6 address in the brackets");
    auto rest = text.substr(end + 1);
    if (!rest.empty() && rest[0] != ':') return bad_url("text after ']'");
    port = rest;
  } else {
    const auto colon = std::min(text.find(':'), text.size());
    into.host = lower(text.substr(0, colon));
    if (!std::all_of(into.host.begin(), into.host.end(), is_unreserved))
      return bad_url("the host has an odd character");
    port = text.substr(colon);
  }
  if (into.host.empty() || into.host.size() > 253) return bad_url("no host");
  if (port.empty()) return {};
  const auto number = parse_unsigned(port.substr(1));
  if (!number || *number == 0 || *number > std::numeric_limits<std::uint16_t>::max())
    return bad_url("the port is not between 1 and 65535");
  into.port = static_cast<std::uint16_t>(*number);
  return {};
}

}  // namespace

bool equal_ignoring_case(std::string_view a, std::string_view b) noexcept {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) {
    return lower_char(x) == lower_char(y);
  });
}

std::string lower(std::string_view text) {
  std::string out{text};
  for (auto& c : out) c = lower_char(c);
  return out;
}

std::string_view trimmed(std::string_view text) noexcept {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

bool has_list_item(std::string_view list, std::string_view item) noexcept {
  while (!list.empty()) {
    const auto comma = std::min(list.find(','), list.size());
    if (equal_ignoring_case(trimmed(list.substr(0, comma)), item)) return true;
    list.remove_prefix(std::min(comma + 1, list.size()));
  }
  return false;
}

std::optional<std::string> percent_decoded(std::string_view text, bool plus_is_space) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == '%') {
      if (i + 2 >= text.size()) return std::nullopt;
      const int high = hex_digit(text[i + 1]), low = hex_digit(text[i + 2]);
      if (high < 0 || low < 0 || (high == 0 && low == 0)) return std::nullopt;
      c = static_cast<char>(high * 16 + low);
      i += 2;
    } else if (c == '+' && plus_is_space) {
      c = ' ';
    }
    out += c;
  }
  return out;
}

std::string percent_encoded(std::string_view text) {
  constexpr std::string_view digits = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    if (is_unreserved(c)) {
      out += c;
      continue;
    }
    const auto u = static_cast<unsigned char>(c);
    out += '%';
    out += digits[u >> 4];
    out += digits[u & 15];
  }
  return out;
}

std::optional<query_pairs> parse_query(std::string_view text) {
  query_pairs pairs;
  while (!text.empty()) {
    const auto end = std::min(text.find('&'), text.size());
    const auto item = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (item.empty()) continue;
    const auto equals = std::min(item.find('='), item.size());
    auto name = percent_decoded(item.substr(0, equals), true);
    auto value = percent_decoded(item.substr(std::min(equals + 1, item.size())), true);
    if (!name || !value || pairs.size() == query_pairs_max) return std::nullopt;
    pairs.emplace_back(*std::move(name), *std::move(value));
  }
  return pairs;
}

std::optional<std::uint64_t> parse_unsigned(std::string_view digits) noexcept {
  std::uint64_t value = 0;
  const auto end = digits.data() + digits.size();
  const auto [stopped, ec] = std::from_chars(digits.data(), end, value);
  if (ec != std::errc{} || stopped != end) return std::nullopt;
  return value;
}

std::string valid_utf8(std::string_view text) {
  if (base::is_utf8(text)) return std::string{text};
  std::string out;
  for (std::size_t i = 0; i < text.size();) {
    std::size_t length = 0;
    for (std::size_t n = 1; n <= 4 && i + n <= text.size() && !length; ++n)
      if (base::is_utf8(text.substr(i, n))) length = n;
    out += length ? text.substr(i, length) : std::string_view{"\xEF\xBF\xBD"};
    i += length ? length : 1;
  }
  return out;
}

std::string url::host_field() const {
  auto field = host.find(':') == std::string::npos ? host : "[" + host + "]";
  if (port != (tls ? 443 : 80)) field += ":" + std::to_string(port);
  return field;
}

base::result<url> parse_url(std::string_view text) {
  if (text.size() > url_bytes_max) return bad_url("longer than 2048 characters");
  const auto visible = [](char c) { return c > 0x20 && c < 0x7f && c != '\\' && c != '"'; };
  if (!std::all_of(text.begin(), text.end(), visible))
    return bad_url("it has a character that must be percent-encoded");
  const auto scheme_end = text.find("://");
  if (scheme_end == std::string_view::npos)
    return bad_url("it starts with neither https:// nor http://");
  url out;
  const auto scheme = text.substr(0, scheme_end);
  out.tls = equal_ignoring_case(scheme, "https");
  if (!out.tls && !equal_ignoring_case(scheme, "http"))
    return bad_url("the scheme is neither https nor http");
  out.port = out.tls ? 443 : 80;
  auto rest = text.substr(scheme_end + 3);
  if (rest.find('#') != std::string_view::npos) return bad_url("it has a fragment");
  const auto path = std::min(rest.find_first_of("/?"), rest.size());
  const auto authority = rest.substr(0, path);
  if (authority.find('@') != std::string_view::npos) return bad_url("it has user information");
  if (const auto ok = parse_authority(authority, out); !ok) return ok.error();
  out.target = std::string{rest.substr(path)};
  if (!out.target.starts_with('/')) out.target.insert(0, "/");
  return out;
}

}  // namespace dlls::gateway::detail

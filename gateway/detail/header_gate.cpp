#include "gateway/detail/header_gate.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>

#include "gateway/detail/text.hpp"

namespace dlls::gateway::detail {
namespace {

constexpr std::size_t fields_max = 100;
constexpr std::size_t content_length_digits_max = 18;

base::error refusal(std::string why) {
  return {base::errc::invalid_argument, "malformed request: " + std::move(why)};
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// RFC 9110, 5.6.2.
bool is_token(std::string_view text) {
  constexpr std::string_view marks = "!#$%&'*+-.^_`|~";
  return !text.empty() && std::all_of(text.begin(), text.end(), [&](char c) {
    return is_digit(c) || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
           marks.find(c) != std::string_view::npos;
  });
}

// No control character but a tab; bytes above 127 are obs-text and pass as opaque.
bool is_field_value(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) {
    const auto u = static_cast<unsigned char>(c);
    return u == '\t' || (u >= 0x20 && u != 0x7f);
  });
}

// Fields that decide where a request ends or who sent it, so each may stand once.
enum field { host, transfer_encoding, content_length, authorization, content_type, expect, count };
constexpr std::array<std::string_view, count> single_fields{
    "host", "transfer-encoding", "content-length", "authorization", "content-type", "expect"};

struct seen_fields {
  std::array<std::size_t, count> times{};
  std::size_t total = 0;
};

base::result<bool> check_request_line(std::string_view line) {
  const auto first = line.find(' ');
  const auto last = line.rfind(' ');
  if (first == std::string_view::npos || first == last)
    return refusal("the request line has three words");
  const auto method = line.substr(0, first);
  const auto target = line.substr(first + 1, last - first - 1);
  const auto version = line.substr(last + 1);
  if (!is_token(method)) return refusal("the method is not a token");
  if (target.empty() || target[0] != '/') return refusal("the target must start with '/'");
  const bool visible = std::all_of(
      target.begin(), target.end(), [](char c) { return c > 0x20 && c < 0x7f && c != '#'; });
  if (!visible) return refusal("the target has a character that must be percent-encoded");
  if (version != "HTTP/1.1" && version != "HTTP/1.0") return refusal("HTTP/1.1 is spoken here");
  return version == "HTTP/1.1";
}

base::result<> check_value(std::size_t which, std::string_view value, bool is_1_1) {
  if (which == host && value.empty()) return refusal("an empty Host");
  if (which == transfer_encoding && !is_1_1) return refusal("Transfer-Encoding on HTTP/1.0");
  if (which == transfer_encoding && !equal_ignoring_case(value, "chunked"))
    return refusal("the only Transfer-Encoding is 'chunked'");
  if (which == content_length && (value.empty() || value.size() > content_length_digits_max ||
                                  !std::all_of(value.begin(), value.end(), is_digit)))
    return refusal("Content-Length is a number");
  return {};
}

base::result<> check_field(std::string_view line, bool is_1_1, seen_fields& seen) {
  if (line[0] == ' ' || line[0] == '\t') return refusal("a folded header line");
  if (++seen.total > fields_max) return refusal("too many header fields");
  const auto colon = line.find(':');
  if (colon == std::string_view::npos) return refusal("a header line without a colon");
  const auto name = line.substr(0, colon);
  const auto value = trimmed(line.substr(colon + 1));
  if (!is_token(name)) return refusal("a header name is not a token");
  if (!is_field_value(value)) return refusal("a control character in a header");
  if (equal_ignoring_case(name, "upgrade")) return refusal("Upgrade is not spoken here");
  if (equal_ignoring_case(name, "connection") && has_list_item(value, "upgrade"))
    return refusal("Connection: upgrade is not spoken here");
  for (std::size_t i = 0; i < count; ++i) {
    if (!equal_ignoring_case(name, single_fields[i])) continue;
    if (++seen.times[i] > 1) return refusal("repeated " + std::string{single_fields[i]});
    return check_value(i, value, is_1_1);
  }
  return {};
}

}  // namespace

std::size_t header_block_size(std::string_view bytes) noexcept {
  const auto end = bytes.find("\r\n\r\n");
  return end == std::string_view::npos ? 0 : end + 4;
}

base::result<> check_header_block(std::string_view block) {
  if (!block.ends_with("\r\n\r\n")) return refusal("the header has no end");
  auto rest = block.substr(0, block.size() - 2);
  bool first = true, is_1_1 = false;
  seen_fields seen;
  while (!rest.empty()) {
    const auto end = rest.find('\n');
    if (end == 0 || end == std::string_view::npos || rest[end - 1] != '\r')
      return refusal("a line that does not end in CRLF");
    const auto line = rest.substr(0, end - 1);
    rest.remove_prefix(end + 1);
    if (line.empty() || line.find('\r') != std::string_view::npos)
      return refusal("a stray carriage return");
    if (first) {
      const auto version = check_request_line(line);
      if (!version) return version.error();
      is_1_1 = *version;
      first = false;
    } else if (const auto ok = check_field(line, is_1_1, seen); !ok) {
      return ok.error();
    }
  }
  if (is_1_1 && seen.times[host] != 1) return refusal("no Host");
  if (seen.times[transfer_encoding] && seen.times[content_length])
    return refusal("both Transfer-Encoding and Content-Length");
  return {};
}

}  // namespace dlls::gateway::detail

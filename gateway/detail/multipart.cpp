#include "gateway/detail/multipart.hpp"

#include <algorithm>

#include "base/encoding.hpp"
#include "gateway/detail/text.hpp"

namespace dlls::gateway::detail {
namespace {

constexpr std::size_t boundary_max = 70;
constexpr std::size_t padding_max = 128;  // spaces a mail gateway may have put after a boundary

base::error malformed(std::string why) {
  return {base::errc::invalid_argument, "the multipart body is malformed: " + std::move(why)};
}

// RFC 2046, 5.1.1, without the space.
bool is_boundary_character(char c) {
  constexpr std::string_view marks = "'()+_,-./:=?";
  return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
         marks.find(c) != std::string_view::npos;
}

// Takes one `; name=value` off a parameter list. False at its end or for anything odd, which
// `rest` then still holds.
bool next_parameter(std::string_view& rest, std::string& name, std::string& value) {
  auto text = trimmed(rest);
  if (!text.starts_with(';')) return false;
  text = trimmed(text.substr(1));
  const auto equals = text.find('=');
  if (equals == std::string_view::npos) return false;
  name = lower(trimmed(text.substr(0, equals)));
  text.remove_prefix(equals + 1);
  value.clear();
  if (!text.starts_with('"')) {
    const auto end = std::min(text.find(';'), text.size());
    value = std::string{trimmed(text.substr(0, end))};
    rest = text.substr(end);
    return true;
  }
  std::size_t i = 1;
  for (; i < text.size() && text[i] != '"'; ++i) {
    // Browsers percent-encode a quote; others escape it.
    if (text[i] == '\\' && i + 1 < text.size() && (text[i + 1] == '"' || text[i + 1] == '\\')) ++i;
    value += text[i];
  }
  if (i >= text.size()) return false;
  rest = text.substr(i + 1);
  return true;
}

base::result<form_part> parse_disposition(std::string_view value) {
  const auto semicolon = std::min(value.find(';'), value.size());
  if (!equal_ignoring_case(trimmed(value.substr(0, semicolon)), "form-data"))
    return malformed("a part that is not form-data");
  auto rest = value.substr(semicolon);
  form_part part;
  bool named = false;
  std::string name, text;
  while (next_parameter(rest, name, text)) {
    if (!base::is_utf8(text)) return malformed("a name that is not UTF-8");
    if (name == "name") {
      if (std::exchange(named, true)) return malformed("a part with two names");
      part.name = text;
    } else if (name == "filename") {
      if (part.filename) return malformed("a part with two file names");
      part.filename = text;
    }
  }
  if (!trimmed(rest).empty()) return malformed("a Content-Disposition that cannot be read");
  if (!named) return malformed("a part without a name");
  return part;
}

base::result<form_part> parse_part_header(std::string_view block) {
  std::optional<form_part> part;
  while (!block.empty()) {
    const auto end = block.find("\r\n");
    const auto line = block.substr(0, end);
    block.remove_prefix(end + 2);
    const auto colon = line.find(':');
    if (colon == std::string_view::npos || line[0] == ' ' || line[0] == '\t')
      return malformed("a header line without a colon");
    const auto name = line.substr(0, colon);
    const auto value = trimmed(line.substr(colon + 1));
    const bool encoded = equal_ignoring_case(name, "content-transfer-encoding") &&
                         !equal_ignoring_case(value, "binary") &&
                         !equal_ignoring_case(value, "8bit") && !equal_ignoring_case(value, "7bit");
    if (encoded) return malformed("a part with a transfer encoding");
    if (!equal_ignoring_case(name, "content-disposition")) continue;
    if (part) return malformed("a part with two Content-Dispositions");
    auto parsed = parse_disposition(value);
    if (!parsed) return parsed.error();
    part = *std::move(parsed);
  }
  if (!part) return malformed("a part without Content-Disposition");
  return *std::move(part);
}

}  // namespace

std::optional<std::string> multipart_boundary(std::string_view content_type) {
  const auto semicolon = std::min(content_type.find(';'), content_type.size());
  if (!equal_ignoring_case(trimmed(content_type.substr(0, semicolon)), "multipart/form-data"))
    return std::nullopt;
  auto rest = content_type.substr(semicolon);
  std::optional<std::string> boundary;
  std::string name, value;
  while (next_parameter(rest, name, value)) {
    if (name != "boundary") continue;
    if (boundary) return std::nullopt;
    boundary = value;
  }
  if (!trimmed(rest).empty() || !boundary || boundary->empty() || boundary->size() > boundary_max ||
      !std::all_of(boundary->begin(), boundary->end(), is_boundary_character))
    return std::nullopt;
  return boundary;
}

multipart_parser::multipart_parser(std::string_view boundary, handlers to)
    : delimiter_("\r\n--" + std::string{boundary}), to_(std::move(to)) {}

base::result<> multipart_parser::write(std::string_view bytes) {
  if (complete()) return {};
  pending_ += bytes;
  for (;;) {
    const auto went = step();
    if (!went) return went.error();
    if (!*went) return {};
  }
}

base::result<bool> multipart_parser::step() {
  switch (at_) {
    case where::first:
      return read_first();
    case where::header:
      return read_header();
    case where::content:
      return read_content();
    case where::after_delimiter:
      return read_after_delimiter();
    case where::done:
      pending_ = {};
      return false;
  }
  return false;
}

base::result<bool> multipart_parser::read_first() {
  const auto opening = std::string_view{delimiter_}.substr(2);
  const auto had = std::min(pending_.size(), opening.size());
  if (std::string_view{pending_}.substr(0, had) != opening.substr(0, had))
    return malformed("it does not start with its boundary");
  if (had < opening.size()) return false;
  pending_.erase(0, opening.size());
  at_ = where::after_delimiter;
  return true;
}

// Behind a boundary: two dashes end the body; spaces and CRLF start a part.
base::result<bool> multipart_parser::read_after_delimiter() {
  if (pending_.starts_with("--")) {
    at_ = where::done;
    return true;
  }
  const auto end = pending_.find("\r\n");
  const auto line = std::string_view{pending_}.substr(0, end);
  const bool may_close = line == "-" && end == std::string::npos;
  const auto blank = trimmed(
      line.ends_with('\r') && end == std::string::npos ? line.substr(0, line.size() - 1) : line);
  if ((!blank.empty() && !may_close) || line.size() > padding_max)
    return malformed("text behind a boundary");
  if (end == std::string::npos) return false;
  if (++parts_ > parts_max) return malformed("more than 32 parts");
  pending_.erase(0, end + 2);
  at_ = where::header;
  return true;
}

base::result<bool> multipart_parser::read_header() {
  if (pending_.starts_with("\r\n")) return malformed("a part without Content-Disposition");
  const auto end = pending_.find("\r\n\r\n");
  if (end == std::string::npos && pending_.size() <= part_header_bytes_max) return false;
  if (end == std::string::npos || end > part_header_bytes_max)
    return malformed("a part's header is larger than 4096 bytes");
  const auto part = parse_part_header(std::string_view{pending_}.substr(0, end + 2));
  if (!part) return part.error();
  pending_.erase(0, end + 4);
  if (const auto ok = to_.begin(*part); !ok) return ok.error();
  at_ = where::content;
  return true;
}

base::result<bool> multipart_parser::read_content() {
  const auto found = pending_.find(delimiter_);
  // What may be the start of a delimiter has to wait for the rest of it.
  const auto keep = delimiter_.size() - 1;
  const auto ready = found != std::string::npos ? found
                     : pending_.size() > keep   ? pending_.size() - keep
                                                : 0;
  if (ready > 0) {
    if (const auto ok = to_.data(std::string_view{pending_}.substr(0, ready)); !ok)
      return ok.error();
    pending_.erase(0, ready);
  }
  if (found == std::string::npos) return false;
  pending_.erase(0, delimiter_.size());
  if (const auto ok = to_.end(); !ok) return ok.error();
  at_ = where::after_delimiter;
  return true;
}

}  // namespace dlls::gateway::detail

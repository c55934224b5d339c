#include "actors/dataset_check.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <boost/json.hpp>
#include <fstream>

#include "actors/wire_json.hpp"
#include "base/encoding.hpp"

namespace dlls::actors {
namespace json = boost::json;
using base::errc;
using base::error;
using base::result;

namespace {

constexpr std::size_t piece_bytes = 64u << 10;
constexpr std::array<std::string_view, 4> roles{"system", "developer", "user", "assistant"};

error bad_line(std::uint64_t number, std::string_view why) {
  return {errc::invalid_argument, fmt::format("line {}: {}", number, why)};
}

// Hands a file out in pieces of bounded size, until it ends or `take` refuses.
template <class Take>
result<> read_pieces(const std::filesystem::path& path, Take take) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return base::errno_error("open the training file");
  std::string piece(piece_bytes, '\0');
  while (in) {
    in.read(piece.data(), static_cast<std::streamsize>(piece.size()));
    const auto got = static_cast<std::size_t>(in.gcount());
    if (auto taken = take(std::string_view{piece}.substr(0, got)); !taken) return taken;
  }
  if (in.bad()) return base::errno_error("read the training file");
  return {};
}

// Whether the node takes this weight: absent, or the number 0 or 1; not null.
result<bool> counts(const json::value& message) {
  const auto* weight = message.as_object().if_contains("weight");
  if (weight && weight->is_null())
    return error{errc::invalid_argument, "member 'weight' must be 0 or 1"};
  auto value = whole_member(message, "weight", 1, 0, 1);
  if (!value) return value.error();
  return *value == 1;
}

// The first thing that is wrong with a line, or nothing.
std::string complaint(std::string_view line) {
  if (line.starts_with("\xef\xbb\xbf"))
    return "it begins with a byte order mark: save the file as UTF-8 without one";
  auto value = parse_json(line);
  if (!value) return value.error().message;
  const auto* object = value->if_object();
  const auto* messages = object ? object->if_contains("messages") : nullptr;
  if (!messages || !messages->is_array() || messages->get_array().empty())
    return "it needs a list 'messages' that is not empty";
  bool answered = false;
  for (const auto& message : messages->get_array()) {
    auto role = text_member(message, "role");
    auto content = text_member(message, "content");
    if (!role) return role.error().message;
    if (!content) return content.error().message;
    if (std::ranges::find(roles, *role) == roles.end())
      return fmt::format("unknown role '{}'", base::clip_utf8(*role, 64));
    auto counted = counts(message);
    if (!counted) return counted.error().message;
    answered |= *role == "assistant" && *counted && !content->empty();
  }
  return answered ? "" : "it has no assistant message to learn from";
}

// Collects lines across pieces; never holds more than one of the longest.
class chat_lines {
 public:
  result<> take(std::string_view piece) {
    while (!piece.empty()) {
      const auto end = std::min(piece.find('\n'), piece.size());
      if (line_.size() + end > training_line_bytes_max)
        return bad_line(number_, fmt::format("longer than {} bytes", training_line_bytes_max));
      line_ += piece.substr(0, end);
      if (end == piece.size()) break;
      piece.remove_prefix(end + 1);
      if (auto good = end_line(); !good) return good;
    }
    return {};
  }
  result<> end_line() {
    if (line_.find_first_not_of(" \t\r") != line_.npos) {
      if (!base::is_utf8(line_)) return bad_line(number_, "not UTF-8");
      if (auto why = complaint(line_); !why.empty()) return bad_line(number_, why);
      ++conversations_;
    }
    line_.clear();
    ++number_;
    return {};
  }
  std::uint64_t conversations() const noexcept { return conversations_; }

 private:
  std::string line_;
  std::uint64_t number_ = 1, conversations_ = 0;
};

// Characters across pieces: what is left of one piece begins the next.
class text_pieces {
 public:
  result<> take(std::string_view piece) {
    any_ |= piece.find_first_not_of('\n') != piece.npos;
    rest_ += piece;
    const auto good = base::utf8_prefix(rest_);
    number_ += static_cast<std::uint64_t>(
        std::count(rest_.begin(), rest_.begin() + static_cast<std::ptrdiff_t>(good), '\n'));
    rest_.erase(0, good);
    return rest_.size() < 4 ? result<>{} : end();
  }
  result<> end() const { return rest_.empty() ? result<>{} : bad_line(number_, "not UTF-8"); }
  bool any() const noexcept { return any_; }

 private:
  std::string rest_;
  std::uint64_t number_ = 1;
  bool any_ = false;
};

}  // namespace

result<> check_chat_jsonl(const std::filesystem::path& path) {
  chat_lines lines;
  auto read = read_pieces(path, [&](std::string_view piece) { return lines.take(piece); });
  if (read) read = lines.end_line();
  if (!read) return read;
  if (lines.conversations() == 0) return error{errc::invalid_argument, "it holds no conversation"};
  return {};
}

result<> check_text(const std::filesystem::path& path) {
  text_pieces text;
  auto read = read_pieces(path, [&](std::string_view piece) { return text.take(piece); });
  if (read) read = text.end();
  if (!read) return read;
  if (!text.any()) return error{errc::invalid_argument, "it is empty"};
  return {};
}

}  // namespace dlls::actors

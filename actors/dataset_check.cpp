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

constexpr std::size_t line_bytes_max = 1u << 20;
constexpr std::array<std::string_view, 4> roles{"system", "developer", "user", "assistant"};

// The first thing that is wrong with a line, or nothing.
std::string complaint(std::string_view line) {
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
      return fmt::format("unknown role '{}'", *role);
    auto weight = whole_member(message, "weight", 1, 0, 1);
    if (!weight) return weight.error().message;
    answered |= *role == "assistant" && *weight == 1 && !content->empty();
  }
  return answered ? "" : "it has no assistant message to learn from";
}

error bad_line(std::uint64_t number, std::string_view why) {
  return {errc::invalid_argument, fmt::format("line {} of the training file: {}", number, why)};
}

}  // namespace

result<> check_chat_jsonl(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return base::errno_error("open the training file");
  std::string line;
  std::uint64_t number = 0, conversations = 0;
  while (std::getline(in, line)) {
    ++number;
    if (line.size() > line_bytes_max)
      return bad_line(number, fmt::format("longer than {} bytes", line_bytes_max));
    if (line.find_first_not_of(" \t\r") == line.npos) continue;
    if (!base::is_utf8(line)) return bad_line(number, "not UTF-8");
    if (auto why = complaint(line); !why.empty()) return bad_line(number, why);
    ++conversations;
  }
  if (in.bad()) return base::errno_error("read the training file");
  if (conversations == 0)
    return error{errc::invalid_argument, "the training file holds no conversation"};
  return {};
}

result<> check_text(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return base::errno_error("open the training file");
  std::string line;
  std::uint64_t number = 0;
  bool any = false;
  while (std::getline(in, line)) {
    ++number;
    if (!base::is_utf8(line)) return bad_line(number, "not UTF-8");
    any |= !line.empty();
  }
  if (!any) return error{errc::invalid_argument, "the training file is empty"};
  return {};
}

}  // namespace dlls::actors

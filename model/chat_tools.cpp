#include "model/chat_tools.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <boost/json.hpp>
#include <optional>
#include <utility>

#include "base/encoding.hpp"
#include "model/chat_text.hpp"
#include "model/python_json.hpp"

namespace dlls::model {
namespace {
namespace json = boost::json;
using calls = std::vector<tool_call>;

constexpr std::size_t tools_max = 128;
constexpr std::size_t name_bytes_max = 64;

base::error bad_tools(std::string message) {
  return {base::errc::invalid_argument, std::move(message)};
}

bool is_name(std::string_view name) {
  return !name.empty() && name.size() <= name_bytes_max && std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
  });
}

// nullptr: no such member, or another type.
const json::string* text_of(const json::object& from, std::string_view key) {
  const auto* value = from.if_contains(key);
  return value == nullptr ? nullptr : value->if_string();
}

base::result<chat_tool> read_tool(const json::value& from) {
  const auto* whole = from.if_object();
  if (whole == nullptr) return bad_tools("a tool is an object");
  const auto* type = text_of(*whole, "type");
  const auto* inner = whole->if_contains("function");
  const auto* function = inner == nullptr ? nullptr : inner->if_object();
  if (type == nullptr || *type != "function" || function == nullptr)
    return bad_tools("a tool has the type 'function' and an object 'function'");
  const auto* name = text_of(*function, "name");
  if (name == nullptr || !is_name(*name))
    return bad_tools(
        fmt::format("a function's name is 1 to {} of A-Z, a-z, 0-9, _ and -", name_bytes_max));
  if (const auto* parameters = function->if_contains("parameters");
      parameters != nullptr && !parameters->is_object())
    return bad_tools(
        fmt::format("the parameters of '{}' are no JSON schema", std::string_view{*name}));
  return chat_tool{
      std::string{*name}, python_json(from), python_json(from, 4), python_json(*inner)};
}

// {"name": ..., "arguments" or "parameters": an object, or one written out in a string}.
std::optional<tool_call> read_call(const json::value& from) {
  const auto* whole = from.if_object();
  const auto* name = whole == nullptr ? nullptr : text_of(*whole, "name");
  if (name == nullptr || !is_name(*name)) return std::nullopt;
  tool_call made{"", std::string{*name}, "{}"};
  if (const auto* id = text_of(*whole, "id"); id != nullptr && is_name(*id)) made.id = *id;
  const auto* arguments = whole->if_contains("arguments");
  if (arguments == nullptr) arguments = whole->if_contains("parameters");
  if (arguments == nullptr) return made;
  if (const auto* text = arguments->if_string()) {
    json::error_code ec;
    const auto inner = json::parse(*text, ec);
    if (ec || !inner.is_object()) return std::nullopt;
    made.arguments = json::serialize(inner);
    return made;
  }
  if (!arguments->is_object()) return std::nullopt;
  made.arguments = json::serialize(*arguments);
  return made;
}

// One call or a list of them; nothing unless all of it is calls.
std::optional<calls> read_calls(const json::value& from) {
  calls found;
  const auto add = [&](const json::value& one) {
    auto call = read_call(one);
    if (call) found.push_back(*std::move(call));
    return call.has_value();
  };
  const auto* list = from.if_array();
  const bool all = list == nullptr ? add(from) : std::ranges::all_of(*list, add);
  return all ? std::optional{std::move(found)} : std::nullopt;
}

// The JSON value at the front of a text, and what follows it.
std::optional<json::value> take_json(std::string_view& text) {
  json::stream_parser parser;
  json::error_code ec;
  const auto used = parser.write_some(text.data(), text.size(), ec);
  if (ec || !parser.done()) return std::nullopt;
  text.remove_prefix(used);
  return parser.release();
}

// Calls one after the other, apart by blanks, commas or semicolons, and nothing else.
std::optional<calls> read_bare(std::string_view text, std::span<const chat_tool> offered) {
  calls found;
  for (text = trimmed(text); !text.empty();) {
    if (text.front() != '{' && text.front() != '[') return std::nullopt;
    const auto value = take_json(text);
    auto some = value ? read_calls(*value) : std::nullopt;
    if (!some) return std::nullopt;
    for (auto& call : *some) {
      if (std::ranges::find(offered, call.name, &chat_tool::name) == offered.end())
        return std::nullopt;
      found.push_back(std::move(call));
    }
    text.remove_prefix(std::min(text.find_first_not_of(" \t\r\n;,"), text.size()));
  }
  return found;
}

// Moves what stands between the markers out of the text; a block that is no call stays.
tool_answer take_blocks(std::string_view text, std::string_view open, std::string_view close) {
  tool_answer made;
  while (!text.empty()) {
    const auto at = text.find(open);
    made.content += text.substr(0, at);
    if (at == text.npos) break;
    const auto block = text.substr(at);
    const auto end = block.find(close, open.size());  // the model may stop before it
    const auto inner = block.substr(open.size(), end == block.npos ? end : end - open.size());
    text = end == block.npos ? std::string_view{} : block.substr(end + close.size());
    auto rest = trimmed(inner);
    const auto value = take_json(rest);
    auto some = value && rest.empty() ? read_calls(*value) : std::nullopt;
    if (some)
      std::ranges::move(*some, std::back_inserter(made.calls));
    else
      made.content += block.substr(0, end == block.npos ? end : end + close.size());
  }
  return made;
}

// ```json ... ``` around the whole text.
std::string_view unfenced(std::string_view text) {
  text = trimmed(text);
  if (text.size() < 6 || !text.starts_with("```") || !text.ends_with("```")) return text;
  const auto line = text.find('\n');
  if (line == text.npos) return text;
  return text.substr(line + 1, text.size() - 3 - (line + 1));
}

std::optional<calls> read_mistral(std::string_view text, std::string& before) {
  constexpr std::string_view marker = "[TOOL_CALLS]";
  const auto at = text.find(marker);
  if (at == text.npos) return std::nullopt;
  before = trimmed(text.substr(0, at));
  auto rest = trimmed(text.substr(at + marker.size()));
  const auto value = take_json(rest);
  return value && rest.empty() ? read_calls(*value) : std::nullopt;
}
}  // namespace

base::result<std::vector<chat_tool>> parse_chat_tools(std::string_view text) {
  json::error_code ec;
  const auto parsed = json::parse(text, ec);
  const auto* list = ec ? nullptr : parsed.if_array();
  if (list == nullptr) return bad_tools("tools are a JSON array");
  if (list->size() > tools_max) return bad_tools(fmt::format("at most {} tools", tools_max));
  std::vector<chat_tool> tools;
  for (const auto& item : *list) {
    auto tool = read_tool(item);
    if (!tool) return tool.error();
    if (std::ranges::find(tools, tool->name, &chat_tool::name) != tools.end())
      return bad_tools(fmt::format("two tools are named '{}'", tool->name));
    tools.push_back(*std::move(tool));
  }
  return tools;
}

tool_answer parse_tool_calls(
    tool_form form, std::string_view text, std::span<const chat_tool> offered) {
  tool_answer made;
  std::optional<calls> found;
  switch (form) {
    case tool_form::none:
      break;
    case tool_form::hermes:
    case tool_form::smollm:
      made = take_blocks(text, "<tool_call>", "</tool_call>");
      if (made.calls.empty()) break;
      made.content = trimmed(made.content);
      return made;
    case tool_form::mistral:
      found = read_mistral(text, made.content);
      if (!found) found = read_bare(text, offered);
      break;
    case tool_form::llama3:
      if (constexpr std::string_view tag = "<|python_tag|>"; trimmed(text).starts_with(tag))
        found = read_bare(trimmed(text).substr(tag.size()), offered);
      else
        found = read_bare(text, offered);
      break;
    case tool_form::gemma:
      found = read_bare(unfenced(text), offered);
      break;
  }
  if (!found || found->empty()) return {std::string{text}, {}};
  made.calls = *std::move(found);
  return made;
}

}  // namespace dlls::model

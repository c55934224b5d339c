#include "model/chat_tools.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <boost/json.hpp>
#include <utility>

#include "model/python_json.hpp"

namespace dlls::model {
namespace {
namespace json = boost::json;

constexpr std::size_t tools_max = 128;
constexpr std::size_t name_bytes_max = 64;
constexpr std::size_t depth_max = 64;

base::error bad_tools(std::string message, std::string where) {
  return base::error{base::errc::invalid_argument, std::move(message)}.about(std::move(where));
}

base::result<chat_tool> read_tool(const json::value& from, const std::string& at) {
  const auto* whole = from.if_object();
  if (whole == nullptr) return bad_tools("a tool is an object", at);
  const auto* type = whole->if_contains("type");
  if (type == nullptr || *type != json::value("function"))
    return bad_tools("a tool has the type 'function'", at + ".type");
  const auto* inner = whole->if_contains("function");
  const auto* function = inner == nullptr ? nullptr : inner->if_object();
  if (function == nullptr) return bad_tools("a tool has an object 'function'", at + ".function");
  const auto* name = function->if_contains("name");
  if (name == nullptr || !name->is_string() || !is_tool_name(name->get_string()))
    return bad_tools(
        fmt::format("a function's name is 1 to {} of A-Z, a-z, 0-9, _ and -", name_bytes_max),
        at + ".function.name");
  chat_tool made{
      std::string{name->get_string()},
      python_json(from),
      python_json(from, 4),
      python_json(*inner),
      "",
      false};
  if (const auto* parameters = function->if_contains("parameters");
      parameters && !parameters->is_null()) {
    const auto* schema = parameters->if_object();
    const auto* kind = schema ? schema->if_contains("type") : nullptr;
    if (!schema || (kind && *kind != json::value("object")))
      return bad_tools(
          fmt::format("the parameters of '{}' are no JSON schema of an object", made.name),
          at + ".function.parameters");
    made.parameters = json::serialize(*parameters);
  }
  if (const auto* strict = function->if_contains("strict"); strict && !strict->is_null()) {
    if (!strict->is_bool()) return bad_tools("'strict' is true or false", at + ".function.strict");
    made.strict = strict->get_bool();
  }
  return made;
}

}  // namespace

bool is_tool_name(std::string_view name) {
  return !name.empty() && name.size() <= name_bytes_max && std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
  });
}

base::result<std::vector<chat_tool>> parse_chat_tools(std::string_view text) {
  json::parse_options options;
  options.max_depth = depth_max;
  json::error_code ec;
  const auto parsed = json::parse(text, ec, {}, options);
  if (ec) return bad_tools("the tools are no JSON: " + ec.message(), "tools");
  const auto* list = parsed.if_array();
  if (list == nullptr) return bad_tools("tools are a JSON array", "tools");
  if (list->size() > tools_max)
    return bad_tools(fmt::format("at most {} tools", tools_max), "tools");
  std::vector<chat_tool> tools;
  for (const auto& item : *list) {
    const auto at = fmt::format("tools[{}]", tools.size());
    auto tool = read_tool(item, at);
    if (!tool) return tool.error();
    if (std::ranges::find(tools, tool->name, &chat_tool::name) != tools.end())
      return bad_tools(fmt::format("two tools are named '{}'", tool->name), at + ".function.name");
    tools.push_back(*std::move(tool));
  }
  return tools;
}

}  // namespace dlls::model

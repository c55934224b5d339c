#include "model/tool_call_form.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <boost/json.hpp>
#include <utility>

#include "model/json_schema.hpp"

namespace dlls::model {
namespace json = boost::json;
using base::errc;
using base::error;
using base::failure;

namespace {

struct spelling {
  std::string_view opening, arguments_key, after;
};

spelling spelling_of(tool_form form) {
  switch (form) {
    case tool_form::hermes:
      return {"<tool_call>\n", "arguments", "\n</tool_call>"};
    case tool_form::smollm:
      return {"<tool_call>[", "arguments", "]</tool_call>"};
    case tool_form::mistral:
      return {"[TOOL_CALLS][", "arguments", "]"};
    case tool_form::llama3:
    case tool_form::gemma:
      return {"", "parameters", ""};
    case tool_form::none:
      break;
  }
  throw failure{error{
      errc::unsupported, "this model's template has no form for tools",
      "use a model that was trained to call functions"}};
}

// Objects without a schema of their own are empty, as OpenAI has it.
constexpr std::array<json::string_view, 6> others_decide{"anyOf", "oneOf", "allOf",
                                                         "$ref",  "enum",  "const"};
constexpr std::string_view no_arguments = R"({"type":"object","properties":{}})";

// Nothing that it admits is anything but an object.
bool is_of_an_object(std::string_view schema) {
  const auto parsed = json::parse(json::string_view{schema.data(), schema.size()});
  const auto& members = parsed.as_object();
  const auto* type = members.if_contains("type");
  return type && *type == json::value("object") &&
         std::ranges::none_of(others_decide, [&](auto name) { return members.contains(name); });
}

grammar_state add_arguments(
    grammar_builder& to, const json_rules& rules, const chat_tool& tool, std::size_t index) {
  const auto schema = tool.parameters.empty() ? no_arguments : std::string_view{tool.parameters};
  const auto place = fmt::format("tools[{}].function.parameters", index);
  if (!is_of_an_object(schema)) {
    if (!tool.strict) return rules.object;
    throw failure{error{
        errc::unsupported,
        "the parameters of a strict function are of the type object, without "
        "anyOf, oneOf, allOf, $ref, enum and const beside it"}
                      .about(place)};
  }
  try {
    return add_json_schema(
        to, rules, schema, tool.strict ? unknown_keywords::refuse : unknown_keywords::pass_over);
  } catch (const failure& why) {
    throw failure{why.why().about(place)};
  }
}

}  // namespace

base::result<tool_call_form> required_tool_call(
    tool_form form, std::span<const chat_tool> offered, std::string_view only) {
  try {
    const auto spelled = spelling_of(form);
    grammar_builder to{json_schema_limits{}.states_max};
    const auto rules = add_json_rules(to);
    const auto start = to.add(), closing = to.add();
    bool any = false;
    to.end(to.spell(closing, fmt::format("}}{}", spelled.after)));
    for (std::size_t i = 0; i < offered.size(); ++i) {
      if (!only.empty() && offered[i].name != only) continue;
      any = true;
      const auto arguments = add_arguments(to, rules, offered[i], i);
      const auto front =
          fmt::format(R"({{"name": "{}", "{}": )", offered[i].name, spelled.arguments_key);
      to.call(to.spell(start, front), arguments, closing);
    }
    if (!any)
      return error{
          errc::invalid_argument,
          only.empty() ? std::string{"a call is required, and no function is offered"}
                       : fmt::format("no function is named '{}'", only)}
          .about("tool_choice");
    auto made = std::move(to).build(start);
    if (!made) return made.error().about("tools");
    return tool_call_form{std::string{spelled.opening}, std::move(*made)};
  } catch (const failure& why) {
    return why.why();
  }
}

}  // namespace dlls::model

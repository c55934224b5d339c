#include "model/tool_call_form.hpp"

#include <catch2/catch.hpp>
#include <memory>

#include "model/grammar_matcher.hpp"
#include "model/tool_call_reader.hpp"

namespace dlls::model {
namespace {
using base::errc;

std::vector<chat_tool> tools(std::string_view json) { return parse_chat_tools(json).value(); }

const std::string both =
    R"([{"type":"function","function":{"name":"get_weather","parameters":{"type":"object",)"
    R"("properties":{"city":{"$ref":"#/$defs/city"}},"required":["city"],)"
    R"("$defs":{"city":{"enum":["Oslo","Rome"]}}}}},)"
    R"({"type":"function","function":{"name":"get_time"}}])";

bool accepts(const tool_call_form& form, std::string_view bytes) {
  grammar_matcher text{std::make_shared<const grammar>(form.rules)};
  for (const char c : bytes)
    if (!text.push(static_cast<std::uint8_t>(c))) return false;
  return text.complete();
}

std::string with_parameters(std::string_view schema, bool strict) {
  return R"([{"type":"function","function":{"name":"f","strict":)" +
         std::string{strict ? "true" : "false"} + R"(,"parameters":)" + std::string{schema} + "}}]";
}
}  // namespace

TEST_CASE("a required call is one of the functions offered, with arguments of its schema") {
  struct family {
    tool_form form;
    std::string key, after;
  };
  const auto [form, key, after] = GENERATE(
      family{tool_form::hermes, "arguments", "\n</tool_call>"},
      family{tool_form::smollm, "arguments", "]</tool_call>"},
      family{tool_form::mistral, "arguments", "]"}, family{tool_form::llama3, "parameters", ""},
      family{tool_form::gemma, "parameters", ""});
  const auto offered = tools(both);
  const auto made = required_tool_call(form, offered).value();
  const auto call = [&, key = key, after = after](std::string name, std::string arguments) {
    return R"({"name": ")" + name + R"(", ")" + key + R"(": )" + arguments + "}" + after;
  };
  for (const auto& text :
       {call("get_weather", R"({"city":"Oslo"})"), call("get_weather", R"({"city": "Rome"})"),
        call("get_time", "{}")}) {
    INFO(text);
    CHECK(accepts(made, text));
    const auto read = parse_tool_calls(form, made.opening + text, offered);
    CHECK(read.content.empty());
    CHECK(read.calls.size() == 1);
  }
  for (const auto& text :
       {call("get_weather", "{}"), call("get_weather", R"({"city":"Bonn"})"),
        call("get_time", R"({"city":"Oslo"})"), call("launch", "{}"), std::string{"Sure!"},
        call("get_time", "{}") + "."})
    CHECK_FALSE(accepts(made, text));
}

TEST_CASE("keywords past the grammar are passed over, unless the function is strict") {
  const std::string schema =
      R"({"type":"object","required":["when","n"],"additionalProperties":true,"properties":{)"
      R"("when":{"type":"string","format":"date"},"n":{"type":"integer","minimum":1},)"
      R"("more":{"type":"object","additionalProperties":{"type":"string"}}}})";
  const auto made =
      required_tool_call(tool_form::llama3, tools(with_parameters(schema, false))).value();
  const auto call = [](std::string arguments) {
    return R"({"name": "f", "parameters": )" + arguments + "}";
  };
  CHECK(accepts(made, call(R"({"when":"today","n":0})")));
  CHECK(accepts(made, call(R"({"when":"today","n":0,"more":{"x":[1]}})")));
  CHECK_FALSE(accepts(made, call(R"({"when":"today"})")));
  CHECK_FALSE(accepts(made, call(R"({"when":"today","n":"0"})")));
  CHECK_FALSE(accepts(made, call(R"({"other":1})")));
  const auto refused = required_tool_call(tool_form::llama3, tools(with_parameters(schema, true)));
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == errc::unsupported);
  CHECK(refused.error().param == "tools[0].function.parameters");
}

TEST_CASE("whatever the schema says, a call's arguments are an object") {
  for (const auto* schema :
       {"{}", R"({"oneOf":[{"type":"string"}]})", R"({"enum":[1]})",
        R"({"anyOf":[{"type":"null"}]})", R"({"type":"object","anyOf":[{"type":"null"}]})"}) {
    INFO(schema);
    const auto made =
        required_tool_call(tool_form::llama3, tools(with_parameters(schema, false))).value();
    CHECK(accepts(made, R"({"name": "f", "parameters": {"x": 1}})"));
    CHECK_FALSE(accepts(made, R"({"name": "f", "parameters": 1})"));
    CHECK_FALSE(required_tool_call(tool_form::llama3, tools(with_parameters(schema, true))));
  }
}

TEST_CASE("what cannot be required is refused") {
  const auto wrong = tools(with_parameters(R"({"type":"object","properties":7})", false));
  const auto refused = required_tool_call(tool_form::llama3, wrong);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == errc::invalid_argument);
  CHECK(refused.error().param == "tools[0].function.parameters");
  const auto no_form = required_tool_call(tool_form::none, tools(both));
  REQUIRE_FALSE(no_form);
  CHECK(no_form.error().code == errc::unsupported);
}

}  // namespace dlls::model

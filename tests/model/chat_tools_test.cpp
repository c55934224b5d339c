#include "model/chat_tools.hpp"

#include <catch2/catch.hpp>

#include "model/chat_template.hpp"

namespace dlls::model {
namespace {
using base::errc;

const std::string weather =
    R"({"type":"function","function":{"name":"get_weather","parameters":{"type":"object"}}})";
const std::string clock_tool = R"({"type":"function","function":{"name":"clock"}})";

std::vector<chat_tool> tools() {
  return parse_chat_tools("[" + weather + "," + clock_tool + "]").value();
}

chat_message called(std::string name, std::string arguments, std::string id = "call_1") {
  chat_message m{"assistant", ""};
  m.tool_calls.push_back({std::move(id), std::move(name), std::move(arguments)});
  return m;
}
chat_message result(std::string text, std::string id = "call_1") {
  chat_message m{"tool", std::move(text)};
  m.tool_call_id = std::move(id);
  return m;
}
}  // namespace

TEST_CASE("tools are read from OpenAI's form and written in Python's") {
  const auto read = tools();
  REQUIRE(read.size() == 2);
  CHECK(read[0].name == "get_weather");
  CHECK(
      read[0].line == R"({"type": "function", "function": {"name": "get_weather", )"
                      R"("parameters": {"type": "object"}}})");
  CHECK(read[1].function == R"({"name": "clock"})");
  CHECK(
      read[1].indented ==
      "{\n    \"type\": \"function\",\n    \"function\": {\n        \"name\": \"clock\"\n    }\n}");
  CHECK(parse_chat_tools("[]")->empty());
  CHECK(parse_chat_tools(R"([{"type":"function","function":{"name":"x","parameters":null}}])"));
}

TEST_CASE("tools that are none are refused") {
  std::string many = "[";
  for (int i = 0; i < 129; ++i)
    many += (i == 0 ? "" : ",") + std::string{R"({"type":"function","function":{"name":"f)"} +
            std::to_string(i) + "\"}}";
  const std::string deep(100, '['), long_name(65, 'a');
  for (const std::string bad :
       {"", "{}", "[1]", "[{}]", R"([{"type":"function"}])",
        R"([{"type":"retrieval","function":{"name":"x"}}])",
        R"([{"type":"function","function":{"name":""}}])",
        R"([{"type":"function","function":{"name":"a b"}}])",
        R"([{"type":"function","function":{"name":7}}])",
        R"([{"type":"function","function":{"name":"x","parameters":[]}}])",
        R"([{"type":"function","function":{"name":"x","parameters":{"type":"string"}}}])"}) {
    INFO(bad);
    const auto read = parse_chat_tools(bad);
    REQUIRE_FALSE(read);
    CHECK(read.error().code == errc::invalid_argument);
    CHECK(read.error().param.starts_with("tools"));
  }
  const auto twice = parse_chat_tools("[" + weather + "," + weather + "]");
  REQUIRE_FALSE(twice);
  CHECK(twice.error().param == "tools[1].function.name");
  CHECK_FALSE(parse_chat_tools(many + "]"));
  CHECK_FALSE(parse_chat_tools(deep));
  CHECK_FALSE(
      parse_chat_tools(R"([{"type":"function","function":{"name":")" + long_name + "\"}}]"));
}

TEST_CASE("SmolLM2 is told of tools in its own words, and calls them in a list") {
  const auto how = chat_template::from_text(
                       "{{ '<|im_start|>system\nYou are a helpful AI assistant named SmolLM, "
                       "trained by Hugging Face<|im_end|>\n' }}{{'<|im_start|>' + role}}")
                       .value();
  CHECK(how.tools() == tool_form::smollm);
  const auto offered = tools();
  const std::vector<chat_message> asked{{"user", "Time?"}};
  const auto text = how.render(asked, true, offered).value();
  CHECK(text.starts_with("<|im_start|>system\nYou are an expert in composing functions."));
  CHECK(text.find("<tools>[{\"type\": \"function\"") != std::string::npos);
  CHECK(text.find("SmolLM") == std::string::npos);
  CHECK(text.ends_with(
      "]</tool_call><|im_end|>\n<|im_start|>user\nTime?<|im_end|>\n<|im_start|>assistant\n"));
  const std::vector<chat_message> answered{
      {"user", "Time?"}, called("clock", "{}"), result("noon")};
  CHECK(
      how.render(answered, false).value() ==
      "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging "
      "Face<|im_end|>\n<|im_start|>user\nTime?<|im_end|>\n<|im_start|>assistant\n"
      "<tool_call>[{\"name\": \"clock\", \"arguments\": {}}]</tool_call><|im_end|>\n"
      "<|im_start|>user\n<tool_response>\nnoon\n</tool_response><|im_end|>\n");
}

TEST_CASE("Gemma is told of tools before its first question") {
  const chat_template how{chat_family::gemma};
  const auto offered = tools();
  const std::vector<chat_message> asked{{"system", "Be kind"}, {"user", "Time?"}};
  const auto text = how.render(asked, true, offered).value();
  CHECK(text.starts_with("<start_of_turn>user\nBe kind\n\nYou have access to functions."));
  CHECK(text.ends_with("{\"name\": \"clock\"}}]\n\nTime?<end_of_turn>\n<start_of_turn>model\n"));
  chat_message both = called("clock", "{}");
  both.tool_calls.push_back({"call_2", "get_weather", R"({"city":"Oslo"})"});
  const std::vector<chat_message> answered{
      {"user", "Time?"}, both, result("noon"), result("rain", "call_2"), {"assistant", "Late."}};
  CHECK(
      how.render(answered, false).value() ==
      "<start_of_turn>user\nTime?<end_of_turn>\n<start_of_turn>model\n"
      "[{\"name\": \"clock\", \"parameters\": {}}, "
      "{\"name\": \"get_weather\", \"parameters\": {\"city\": \"Oslo\"}}]<end_of_turn>\n"
      "<start_of_turn>user\nnoon\nrain<end_of_turn>\n<start_of_turn>model\nLate.<end_of_turn>\n");
}

TEST_CASE("Mistral's templates get call ids that they accept, the same for call and result") {
  const auto how = chat_template::from_text("[AVAILABLE_TOOLS] [INST] ").value();
  const std::vector<chat_message> chat{
      {"user", "Time?"},
      called("clock", "{}", "call_of_openais_length"),
      result("noon", "call_of_openais_length"),
      {"user", "Thanks"}};
  const std::vector<chat_message> again{
      {"user", "Time?"}, called("clock", "{}", ""), result("noon")};
  const auto refused = how.render(chat, true);
  CHECK_FALSE(refused);  // no answer between the two questions
  const auto text = how.render(again, true).value();
  CHECK(text.find("\"id\": \"e3b0c4429\"}") != std::string::npos);
  const std::vector<chat_message> fine{
      {"user", "Time?"},
      called("clock", "{}", "call_of_openais_length"),
      result("noon", "call_of_openais_length")};
  const auto made = how.render(fine, true).value();
  const auto id = made.substr(made.find("\"id\": \"") + 7, 9);
  CHECK(made.find("\"call_id\": \"" + id + "\"}") != std::string::npos);
}

TEST_CASE("tools where nobody can use them are refused, and so are calls that are none") {
  const auto offered = tools();
  const std::vector<chat_message> asked{{"user", "Time?"}};
  for (const auto family :
       {chat_family::llama2, chat_family::mistral, chat_family::zephyr, chat_family::plain,
        chat_family::llama3}) {
    const auto made = chat_template{family}.render(asked, true, offered);
    REQUIRE_FALSE(made);
    CHECK(made.error().code == errc::unsupported);
    CHECK(chat_template{family}.render(asked, true));
  }
  const auto refusal = [](const std::vector<chat_message>& messages) {
    const auto made = chat_template{chat_family::chatml}.render(messages, true);
    return made ? errc::ok : made.error().code;
  };
  CHECK(refusal({{"user", "x"}, called("clock", "{}")}) == errc::ok);
  for (const auto* arguments : {"", "{", "[]", "1", "\"{}\""})
    CHECK(refusal({{"user", "x"}, called("clock", arguments)}) == errc::invalid_argument);
  auto wrong = called("clock", "{}");
  wrong.role = "user";
  CHECK(refusal({wrong}) == errc::invalid_argument);
}

TEST_CASE("what a tool answers, or a client names, can't end a turn") {
  const auto offered =
      parse_chat_tools(
          R"([{"type":"function","function":{"name":"f","description":"<|im_end|>"}}])")
          .value();
  const std::vector<chat_message> chat{
      {"user", "x"}, called("f", R"({"a":"<|im_end|>"})"), result("<|im_end|>")};
  const auto parts = chat_template{chat_family::chatml}.parts(chat, true, offered).value();
  int untrusted = 0;
  for (const auto& p : parts)
    if (!p.parse_special)
      for (auto at = p.text.find("<|im_end|>"); at != p.text.npos;
           at = p.text.find("<|im_end|>", at + 1))
        ++untrusted;
  CHECK(untrusted == 3);
}

}  // namespace dlls::model

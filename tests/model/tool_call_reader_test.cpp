#include "model/tool_call_reader.hpp"

#include <catch2/catch.hpp>

#include "base/random.hpp"

namespace dlls::model {
namespace {

std::vector<chat_tool> tools() {
  return parse_chat_tools(R"([{"type":"function","function":{"name":"get_weather"}},)"
                          R"({"type":"function","function":{"name":"clock"}}])")
      .value();
}

// "content|name(arguments)|..."
std::string shown(const tool_answer& answer) {
  auto all = answer.content;
  for (const auto& c : answer.calls)
    all += "|" + c.name + (c.id.empty() ? "" : "#" + c.id) + "(" + c.arguments + ")";
  return all;
}

std::string parsed(tool_form form, std::string_view text) {
  const auto offered = tools();
  return shown(parse_tool_calls(form, text, offered));
}

void append(tool_answer& to, const tool_answer& more) {
  to.content += more.content;
  to.calls.insert(to.calls.end(), more.calls.begin(), more.calls.end());
}

std::string in_pieces(
    tool_form form, std::string_view text, std::span<const chat_tool> offered,
    base::random_source& random) {
  tool_call_reader reader{form, offered};
  tool_answer all;
  while (!text.empty()) {
    const auto taken = std::min<std::size_t>(1 + random.below(9), text.size());
    append(all, reader.add(text.substr(0, taken)));
    text.remove_prefix(taken);
  }
  append(all, reader.finish());
  return shown(all);
}

// What each piece settles, apart by "/"; the last stands for finish().
std::string settled(tool_form form, const std::vector<std::string>& pieces) {
  const auto offered = tools();
  tool_call_reader reader{form, offered};
  std::string all;
  for (const auto& piece : pieces) all += shown(reader.add(piece)) + "/";
  return all + shown(reader.finish());
}
}  // namespace

TEST_CASE("calls between markers are taken out of an answer") {
  const auto form = GENERATE(tool_form::hermes, tool_form::smollm);
  const std::string one = R"({"name": "get_weather", "arguments": {"city": "Oslo"}})";
  CHECK(
      parsed(form, "<tool_call>\n" + one + "\n</tool_call>") == R"(|get_weather({"city":"Oslo"}))");
  CHECK(
      parsed(
          form,
          "Let me look. <tool_call>" + one + "</tool_call>\n<tool_call>" + one + "</tool_call>") ==
      R"(Let me look.|get_weather({"city":"Oslo"})|get_weather({"city":"Oslo"}))");
  CHECK(
      parsed(form, "<tool_call>[" + one + R"(, {"name":"clock"}]</tool_call>)") ==
      R"(|get_weather({"city":"Oslo"})|clock({}))");
  // The model stopped early, or wrote its arguments as a string.
  CHECK(parsed(form, "<tool_call>" + one) == R"(|get_weather({"city":"Oslo"}))");
  CHECK(parsed(form, "<tool_call>" + one + "\n</tool") == R"(|get_weather({"city":"Oslo"}))");
  CHECK(
      parsed(form, R"(<tool_call>{"name":"clock","arguments":"{\"a\":1}"}</tool_call>)") ==
      R"(|clock({"a":1}))");
  // What is no call stays as it was.
  for (const std::string no :
       {"", "Just words.", "<tool_call>", "<tool_call></tool_call>",
        "<tool_call>{\"name\": \"clock\"</tool_call> x", "<tool_call>[1]</tool_call>",
        R"(<tool_call>{"name":"clock","arguments":[]}</tool_call>)",
        R"(<tool_call>{"name":"clock","arguments":"no"}</tool_call>)",
        R"(<tool_call>{"name":"clock"} and more</tool_call>)", "</tool_call><tool_call>"})
    CHECK(parsed(form, no) == no);
  CHECK(
      parsed(form, "<tool_call>broken</tool_call><tool_call>" + one + "</tool_call>") ==
      R"(<tool_call>broken</tool_call>|get_weather({"city":"Oslo"}))");
  // An empty list is the model's word for "no call".
  CHECK(parsed(form, "<tool_call>[]</tool_call>").find('|') == std::string::npos);
}

TEST_CASE("an answer that is a call, and nothing else, is one where the family says so") {
  const auto form = GENERATE(tool_form::llama3, tool_form::gemma);
  const std::string one = R"({"name": "get_weather", "parameters": {"city": "Oslo"}})";
  const std::string read = R"(|get_weather({"city":"Oslo"}))";
  CHECK(parsed(form, one) == read);
  CHECK(parsed(form, " \n" + one + "\n") == read);
  CHECK(parsed(form, one + "; " + one) == read + read);
  CHECK(parsed(form, "[" + one + ", " + one + "]") == read + read);
  // A function that nobody offered, or words around it: the model wrote JSON, it called nothing.
  const std::string other = R"({"name": "launch", "parameters": {}})";
  CHECK(parsed(form, other) == other);
  CHECK(parsed(form, "Here: " + one) == "Here: " + one);
  CHECK(parsed(form, one + " done") == one + " done");
  CHECK(parsed(form, "{\"a\": 1}") == "{\"a\": 1}");
  CHECK(parsed(form, "[]") == "[]");
  CHECK(parsed(form, one.substr(0, one.size() - 1)) == one.substr(0, one.size() - 1));
}

TEST_CASE("the families' own wrappings of a call are known") {
  const std::string one = R"({"name": "clock", "parameters": {}})";
  CHECK(parsed(tool_form::llama3, "<|python_tag|>" + one) == "|clock({})");
  CHECK(parsed(tool_form::gemma, "```json\n" + one + "\n```") == "|clock({})");
  CHECK(parsed(tool_form::gemma, "```tool_code\n" + one + "\n```\n") == "|clock({})");
  CHECK(parsed(tool_form::gemma, "```\n```") == "```\n```");
  CHECK(parsed(tool_form::gemma, "``````") == "``````");
  const std::string list = R"([{"name": "launch", "arguments": {"n": 1}, "id": "abcDEF123"}])";
  CHECK(parsed(tool_form::mistral, "[TOOL_CALLS] " + list) == R"(|launch#abcDEF123({"n":1}))");
  CHECK(
      parsed(tool_form::mistral, "Well. [TOOL_CALLS]" + list) ==
      R"(Well.|launch#abcDEF123({"n":1}))");
  CHECK(parsed(tool_form::mistral, "[TOOL_CALLS] nonsense") == "[TOOL_CALLS] nonsense");
  // The marker is a special token, which a decoded text lacks.
  CHECK(parsed(tool_form::mistral, R"( [{"name": "clock", "arguments": {}}])") == "|clock({})");
  CHECK(parsed(tool_form::mistral, list) == list);
  CHECK(
      parsed(tool_form::none, "<tool_call>" + one + "</tool_call>").find('|') == std::string::npos);
}

TEST_CASE("no answer, however broken, is more than an answer") {
  const auto seed = Catch::rngSeed();
  INFO("replay with --rng-seed " << seed);
  base::random_source random{seed};
  const std::vector<std::string> pieces = {
      "<tool_call>",
      "</tool_call>",
      "[TOOL_CALLS]",
      "```json\n",
      "```",
      "{",
      "}",
      "[",
      "]",
      "\"",
      "\"name\": ",
      "\"clock\"",
      "\"arguments\": ",
      "\"parameters\": ",
      "{}",
      ",",
      ";",
      " ",
      "\n",
      "1e999",
      "\\u00",
      "\xFF",
      "\xC3\xA9",
      "null",
      R"({"name":"clock","arguments":{}})"};
  const auto offered = tools();
  for (int round = 0; round < 3000; ++round) {
    std::string text;
    for (auto left = random.below(12); left > 0; --left)
      text += pieces[random.below(pieces.size())];
    for (const auto form :
         {tool_form::none, tool_form::hermes, tool_form::smollm, tool_form::llama3,
          tool_form::mistral, tool_form::gemma}) {
      const auto answer = parse_tool_calls(form, text, offered);
      if (answer.calls.empty()) CHECK(answer.content == text);
      CHECK(in_pieces(form, text, offered, random) == shown(answer));
      for (const auto& call : answer.calls) {
        CHECK_FALSE(call.name.empty());
        CHECK(call.arguments.starts_with('{'));
      }
    }
  }
}

TEST_CASE("content goes out at once, and a call when its block closes") {
  const auto form = GENERATE(tool_form::hermes, tool_form::smollm);
  CHECK(settled(form, {"I ", "think", ".\n"}) == "I/ think/./\n");
  CHECK(
      settled(
          form, {"Well. ", "<tool", "_call>{\"name\": ", "\"clock\"}", "\n</tool_", "call>",
                 "\nDone"}) == "Well./////|clock({})/ \nDone/");
  CHECK(settled(form, {"a <tool", "box>"}) == "a/ <toolbox>/");
  CHECK(settled(form, {"<tool_call>{\"name\": \"clock\"}"}) == "/|clock({})");
}

TEST_CASE("a marker inside a call's text does not end it") {
  const auto form = GENERATE(tool_form::hermes, tool_form::smollm);
  CHECK(
      parsed(
          form,
          R"(<tool_call>{"name":"clock","arguments":{"a":"</tool_call>\"x>"}}</tool_call>)") ==
      R"(|clock({"a":"</tool_call>\"x>"}))");
}

TEST_CASE("an answer is held back only while it may be a call") {
  const auto form = GENERATE(tool_form::llama3, tool_form::gemma, tool_form::mistral);
  CHECK(settled(form, {"I ", "think {", "}"}) == "I/ think {/}/");
  CHECK(settled(form, {" ", "{\"a", "\": 1}"}) == "/// {\"a\": 1}");
}

TEST_CASE("without tools nothing is a call") {
  const auto form = GENERATE(tool_form::hermes, tool_form::llama3, tool_form::mistral);
  tool_call_reader reader{form, {}};
  CHECK(shown(reader.add("<tool_call>{\"name\"")) == "<tool_call>{\"name\"");
}

}  // namespace dlls::model

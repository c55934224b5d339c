// Conversations against what the families' own Jinja programs make of them (make_chats.py).
#include <boost/json.hpp>
#include <catch2/catch.hpp>
#include <map>
#include <string>
#include <vector>

#include "base/file.hpp"
#include "model/chat_template.hpp"
#include "tests/support/reference.hpp"

namespace dlls::model {
namespace {
namespace json = boost::json;

std::string text_of(const json::value& v) { return std::string{v.as_string()}; }

chat_message message_of(const json::object& from) {
  chat_message made{text_of(from.at("role")), text_of(from.at("content"))};
  if (const auto* id = from.if_contains("tool_call_id")) made.tool_call_id = text_of(*id);
  if (const auto* calls = from.if_contains("tool_calls"))
    for (const auto& call : calls->as_array())
      made.tool_calls.push_back(
          {text_of(call.at("id")), text_of(call.at("function").at("name")),
           json::serialize(call.at("function").at("arguments"))});
  return made;
}

// What each program is recognised by; the programs themselves are not ours to keep.
const std::map<std::string, std::string> marks = {
    {"qwen2.5",
     "{{- '<|im_start|>system\\nYou are Qwen, created by Alibaba Cloud. You are a helpful "
     "assistant.<|im_end|>\\n' }} <tool_call>"},
    {"llama-3.2", "<|start_header_id|> tools ipython Cutting Knowledge Date"},
    {"mistral-v3", "\"[AVAILABLE_TOOLS] [\" \"[INST] \" + message"},
    {"mistral-nemo", "\"[AVAILABLE_TOOLS][\" \"[INST]\" + message"},
    {"gemma3", "'<start_of_turn>' + role"}};
}  // namespace

TEST_CASE("conversations are rendered as the families' own programs do it, tools and calls too") {
  const auto text = base::read_file(test::tree_reference_folder() / "chats" / "chats.json");
  REQUIRE(text);
  const auto reference = json::parse(*text);
  for (const auto& [program, rendered] : reference.at("rendered").as_object())
    for (const auto& [name, expected] : rendered.as_object()) {
      const auto& chat = reference.at("chats").at(name);
      const auto how = chat_template::from_text(marks.at(std::string{program})).value();
      std::vector<chat_message> messages;
      bool calls = false;
      for (const auto& m : chat.at("messages").as_array()) {
        messages.push_back(message_of(m.as_object()));
        calls |= !messages.back().tool_calls.empty();
      }
      std::vector<chat_tool> tools;
      if (const auto& given = chat.at("tools"); given.is_array())
        tools = parse_chat_tools(json::serialize(given)).value();
      // Gemma's program knows no tools; its form is tested beside chat_template.
      if (program == "gemma3" && (calls || !tools.empty())) continue;
      const bool open = chat.at("open").as_bool();
      const bool inst = how.family() == chat_family::mistral;
      if (inst && open && messages.back().role == "assistant") continue;
      CAPTURE(std::string{program}, std::string{name});
      const auto made = how.render(messages, open, tools);
      if (expected.is_null()) {
        REQUIRE_FALSE(made);
        CHECK(made.error().code == base::errc::invalid_argument);
      } else {
        REQUIRE(made);
        CHECK(*made == text_of(expected));
      }
    }
}

}  // namespace dlls::model

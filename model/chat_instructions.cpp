// The [INST] families: a turn is a question and its answer.
#include <algorithm>

#include "base/sha256.hpp"
#include "model/chat_render.hpp"
#include "model/chat_text.hpp"

namespace dlls::model {
namespace {

base::error bad_request(std::string message) {
  return {base::errc::invalid_argument, std::move(message)};
}

// Mistral's templates take ids of nine letters and digits alone. Another id becomes such a one, the
// same each time, so that a call and its result still meet.
std::string nine_letters(const std::string& id) {
  const bool fits =
      id.size() == 9 && std::ranges::all_of(id, [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
      });
  return fits ? id : base::sha256_hex(id).substr(0, 9);
}

void write_tools(const chat_request& r, prompt_builder& out) {
  const bool spaced = r.style.inst_open.ends_with(' ');
  out.marker(spaced ? "[AVAILABLE_TOOLS] [" : "[AVAILABLE_TOOLS][");
  for (const auto& tool : r.offered) {
    if (&tool != &r.offered.front()) out.marker(", ");
    out.marker("{\"type\": \"function\", \"function\": ");
    out.content(tool.function);
    out.marker("}");
  }
  out.marker("][/AVAILABLE_TOOLS]");
}

void write_calls(const chat_request& r, const chat_message& m, prompt_builder& out) {
  const bool spaced = r.style.inst_open.ends_with(' ');
  out.marker(spaced ? "[TOOL_CALLS] [" : "[TOOL_CALLS][");
  for (const auto& call : m.tool_calls) {
    if (&call != &m.tool_calls.front()) out.marker(", ");
    out.marker("{\"name\": \"");
    out.content(call.name);
    out.marker("\", \"arguments\": ");
    out.content(spelled_arguments(call));
    out.marker(", \"id\": \"" + nine_letters(call.id) + "\"}");
  }
  out.marker("]</s>");
}

void write_result(const chat_request& r, const chat_message& m, prompt_builder& out) {
  const bool spaced = r.style.inst_open.ends_with(' ');
  out.marker(spaced ? "[TOOL_RESULTS] {\"content\": " : "[TOOL_RESULTS]{\"content\": ");
  out.content(m.content);
  out.marker(", \"call_id\": \"" + nine_letters(m.tool_call_id) + "\"}[/TOOL_RESULTS]");
}

void write_question(
    const chat_request& r, const chat_message& m, bool first, std::string_view system,
    prompt_builder& out) {
  const bool llama2 = r.style.family == chat_family::llama2;
  // The first begin-of-text comes from tokenizer::encode_prompt.
  if (!first && llama2) out.marker("<s>");
  out.marker(r.style.inst_open);
  if (!system.empty()) {
    if (llama2) out.marker("<<SYS>>\n");
    out.content(r.style.system_last ? system : trimmed(system));
    out.marker(llama2 ? "\n<</SYS>>\n\n" : "\n\n");
  }
  out.content(r.style.system_last ? std::string_view{m.content} : trimmed(m.content));
  out.marker(r.style.inst_close);
}
}  // namespace

base::result<> render_instructions(const chat_request& r, prompt_builder& out) {
  auto messages = r.messages;
  const auto system = take_system(messages).value_or("");
  if (messages.empty()) return bad_request("a conversation of a system message alone");
  // The answer follows a question without any opening.
  if (r.open && messages.back().role == "assistant")
    return bad_request("the last message must be the user's for the model to answer");
  const auto is_user = [](const chat_message& m) { return m.role == "user"; };
  const auto last_user = std::ranges::find_if(messages.rbegin(), messages.rend(), is_user);
  bool want_question = true;
  for (const auto& m : messages) {
    if (m.role == "tool") {
      write_result(r, m, out);
      continue;
    }
    if (!m.tool_calls.empty()) {
      write_calls(r, m, out);
      continue;
    }
    if (m.role != (want_question ? "user" : "assistant"))
      return bad_request(
          "this model's template wants user and assistant to take turns, after at most one system "
          "message");
    if (want_question) {
      const bool leads = r.style.system_last ? &m == &messages.back() : &m == &messages.front();
      if (&m == &*last_user && !r.offered.empty()) write_tools(r, out);
      write_question(r, m, &m == &messages.front(), leads ? system : std::string_view{}, out);
    } else {
      out.marker(r.style.answer_open);
      out.content(r.style.answer_open.empty() ? std::string_view{m.content} : trimmed(m.content));
      out.marker(r.style.family == chat_family::llama2 ? " </s>" : "</s>");
    }
    want_question = !want_question;
  }
  return {};
}

}  // namespace dlls::model

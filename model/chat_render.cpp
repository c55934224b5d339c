// Families whose turns have a marker on either side.
#include "model/chat_render.hpp"

#include <boost/json.hpp>

#include "model/chat_text.hpp"
#include "model/python_json.hpp"

namespace dlls::model {
namespace {

base::error bad_request(std::string message) {
  return {base::errc::invalid_argument, std::move(message)};
}

// What the models were told in training, word for word: other words, worse calls.
constexpr std::string_view hermes_before =
    "# Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
    "You are provided with function signatures within <tools></tools> XML tags:\n<tools>";
constexpr std::string_view hermes_after =
    "\n</tools>\n\nFor each function call, return a json object with function name and arguments "
    "within <tool_call></tool_call> XML tags:\n<tool_call>\n"
    "{\"name\": <function-name>, \"arguments\": <args-json-object>}\n</tool_call>";
constexpr std::string_view smollm_before =
    "You are an expert in composing functions. You are given a question and a set of possible "
    "functions. \nBased on the question, you will need to make one or more function/tool calls to "
    "achieve the purpose. \nIf none of the functions can be used, point it out and refuse to "
    "answer. \nIf the given question lacks the parameters required by the function, also point it "
    "out.\n\nYou have access to the following tools:\n<tools>";
constexpr std::string_view smollm_after =
    "</tools>\n\nThe output MUST strictly adhere to the following format, and NO other text MUST "
    "be included.\nThe example format is as follows. Please make sure the parameter type is "
    "correct. If no function call is needed, please make the tool calls an empty list '[]'.\n"
    "<tool_call>[\n{\"name\": \"func_name1\", \"arguments\": {\"argument1\": \"value1\", "
    "\"argument2\": \"value2\"}},\n... (more tool calls as required)\n]</tool_call>";
constexpr std::string_view llama3_before =
    "Given the following functions, please respond with a JSON for a function call with its proper "
    "arguments that best answers the given prompt.\n\nRespond in the format {\"name\": function "
    "name, \"parameters\": dictionary of argument name and its value}.Do not use variables.\n\n";
constexpr std::string_view gemma_before =
    "You have access to functions. If you decide to invoke any of the function(s), you MUST put it "
    "in the format of\n{\"name\": function name, \"parameters\": dictionary of argument name and "
    "its value}\n\nYou SHOULD NOT include any other text in the response if you call a function\n";

void list_of_tools(const chat_request& r, prompt_builder& out) {
  out.marker("[");
  for (const auto& tool : r.offered) {
    if (&tool != &r.offered.front()) out.marker(", ");
    out.content(tool.line);
  }
  out.marker("]");
}

// {"name": ..., "arguments": ...}
void write_call(const tool_call& call, std::string_view arguments_key, prompt_builder& out) {
  out.marker("{\"name\": \"");
  out.content(call.name);
  out.marker("\", \"");
  out.marker(arguments_key);
  out.marker("\": ");
  out.content(spelled_arguments(call));
  out.marker("}");
}

void chatml_system(const chat_request& r, std::string_view given, prompt_builder& out) {
  const bool smollm = r.style.tools == tool_form::smollm && !r.offered.empty();
  // SmolLM2's tool prompt takes the place of its default one.
  const auto system = given.empty() && !smollm ? std::string_view{r.style.default_system} : given;
  if (system.empty() && r.offered.empty()) return;
  out.marker("<|im_start|>system\n");
  out.content(system);
  if (!r.offered.empty()) {
    if (!system.empty()) out.marker("\n\n");
    out.marker(smollm ? smollm_before : hermes_before);
    if (smollm) list_of_tools(r, out);
    for (const auto& tool : r.offered) {
      if (smollm) break;
      out.marker("\n");
      out.content(tool.line);
    }
    out.marker(smollm ? smollm_after : hermes_after);
  }
  out.marker("<|im_end|>\n");
}

void chatml_calls(const chat_request& r, const chat_message& m, prompt_builder& out) {
  out.marker("<|im_start|>assistant");
  if (!m.content.empty()) {
    out.marker("\n");
    out.content(m.content);
  }
  const bool smollm = r.style.tools == tool_form::smollm;
  if (smollm) out.marker("\n<tool_call>[");
  for (const auto& call : m.tool_calls) {
    if (smollm && &call != &m.tool_calls.front()) out.marker(", ");
    if (!smollm) out.marker("\n<tool_call>\n");
    write_call(call, "arguments", out);
    if (!smollm) out.marker("\n</tool_call>");
  }
  out.marker(smollm ? "]</tool_call><|im_end|>\n" : "<|im_end|>\n");
}

// Answers of tools that follow one another share a turn.
std::span<const chat_message> chatml_results(
    std::span<const chat_message> messages, prompt_builder& out) {
  out.marker("<|im_start|>user");
  for (; !messages.empty() && messages.front().role == "tool"; messages = messages.subspan(1)) {
    out.marker("\n<tool_response>\n");
    out.content(messages.front().content);
    out.marker("\n</tool_response>");
  }
  out.marker("<|im_end|>\n");
  return messages;
}

// What stands around a turn.
struct turn_markers {
  std::string before_role, after_role, after;
};
turn_markers markers_of(chat_family family) {
  if (family == chat_family::chatml) return {"<|im_start|>", "\n", "<|im_end|>\n"};
  if (family == chat_family::zephyr) return {"<|", "|>\n", "</s>\n"};
  return {"", ":", "\n"};
}
}  // namespace

void prompt_builder::add(std::string_view text, bool trusted) {
  if (text.empty()) return;
  if (!parts_.empty() && parts_.back().parse_special == trusted)
    parts_.back().text += text;
  else
    parts_.push_back({std::string{text}, trusted});
}

std::optional<std::string_view> take_system(std::span<const chat_message>& messages) {
  const auto& first = messages.front();
  if (first.role != "system") return std::nullopt;
  messages = messages.subspan(1);
  return first.content;
}

std::string spelled_arguments(const tool_call& call) {
  return python_json(boost::json::parse(call.arguments));
}

base::result<> render_turns(const chat_request& r, prompt_builder& out) {
  const auto family = r.style.family;
  const auto around = markers_of(family);
  auto messages = r.messages;
  if (family == chat_family::chatml) {
    chatml_system(r, take_system(messages).value_or(""), out);
  }
  while (!messages.empty()) {
    const auto& m = messages.front();
    if (m.role == "tool") {
      messages = chatml_results(messages, out);
      continue;
    }
    messages = messages.subspan(1);
    if (!m.tool_calls.empty()) {
      chatml_calls(r, m, out);
      continue;
    }
    out.marker(around.before_role + m.role + around.after_role);
    if (family == chat_family::plain) out.marker(" ");
    out.content(m.content);
    out.marker(around.after);
  }
  if (r.open) out.marker(around.before_role + "assistant" + around.after_role);
  return {};
}

base::result<> render_llama3(const chat_request& r, prompt_builder& out) {
  const auto open = [&](std::string_view role) {
    out.marker("<|start_header_id|>");
    out.marker(role);
    out.marker("<|end_header_id|>\n\n");
  };
  const bool tools = !r.offered.empty();
  auto messages = r.messages;
  const auto system = take_system(messages);
  if (system || tools || !r.style.preamble.empty()) {
    open("system");
    if (tools) out.marker("Environment: ipython\n");
    out.marker(r.style.preamble);
    if (system) out.content(trimmed(*system));
    out.marker("<|eot_id|>");
  }
  if (tools) {
    if (messages.empty() || messages.front().role != "user")
      return bad_request(
          "this model's template puts tools into the user's first message, which "
          "must open the conversation");
    open("user");
    out.marker(llama3_before);
    for (const auto& tool : r.offered) {
      out.content(tool.indented);
      out.marker("\n\n");
    }
    out.content(trimmed(messages.front().content));
    out.marker("<|eot_id|>");
    messages = messages.subspan(1);
  }
  for (const auto& m : messages) {
    if (m.tool_calls.size() > 1)
      return bad_request("this model's template knows one tool call at a time");
    open(m.role == "tool" ? "ipython" : m.role);
    if (!m.tool_calls.empty())
      write_call(m.tool_calls.front(), "parameters", out);
    else if (m.role == "tool")
      out.content(python_json(std::string_view{m.content}));
    else
      out.content(trimmed(m.content));
    out.marker("<|eot_id|>");
  }
  if (r.open) open("assistant");
  return {};
}

base::result<> render_gemma(const chat_request& r, prompt_builder& out) {
  auto messages = r.messages;
  const auto system = take_system(messages).value_or("");
  if (messages.empty()) return bad_request("a conversation of a system message alone");
  for (std::size_t i = 0; i < messages.size(); ++i) {
    const auto& m = messages[i];
    const bool question = m.role == "user" || m.role == "tool";
    const bool shares = i > 0 && m.role == "tool" && messages[i - 1].role == "tool";
    const bool was_question = i > 0 && messages[i - 1].role != "assistant";
    if ((!question && m.role != "assistant") || (!shares && question == was_question && i > 0) ||
        (i == 0 && m.role != "user"))
      return bad_request(
          "this model's template wants user and assistant to take turns, after at "
          "most one system message");
    if (!shares) out.marker(question ? "<start_of_turn>user\n" : "<start_of_turn>model\n");
    if (i == 0 && !system.empty()) {
      out.content(system);
      out.marker("\n\n");
    }
    if (i == 0 && !r.offered.empty()) {
      out.marker(gemma_before);
      list_of_tools(r, out);
      out.marker("\n\n");
    }
    out.content(trimmed(m.content));
    if (m.tool_calls.size() > 1) out.marker("[");
    for (const auto& call : m.tool_calls) {
      if (&call != &m.tool_calls.front()) out.marker(", ");
      write_call(call, "parameters", out);
    }
    if (m.tool_calls.size() > 1) out.marker("]");
    const bool next_shares =
        m.role == "tool" && i + 1 < messages.size() && messages[i + 1].role == "tool";
    out.marker(next_shares ? "\n" : "<end_of_turn>\n");
  }
  if (r.open) out.marker("<start_of_turn>model\n");
  return {};
}

}  // namespace dlls::model

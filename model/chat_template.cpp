#include "model/chat_template.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <boost/json.hpp>
#include <utility>

#include "base/encoding.hpp"
#include "model/chat_render.hpp"

namespace dlls::model {
namespace {
using base::errc;
using base::error;

bool has(std::string_view text, std::string_view marker) { return text.find(marker) != text.npos; }

// The literal system prompt that a ChatML template puts where a conversation has none:
// '<|im_start|>system\nYou are ...<|im_end|>' inside one string of the program.
std::string default_system_of(std::string_view program) {
  constexpr std::string_view opening = "<|im_start|>system";
  for (auto at = program.find(opening); at != program.npos; at = program.find(opening, at + 1)) {
    auto rest = program.substr(at + opening.size());
    if (rest.starts_with("\\n"))
      rest.remove_prefix(2);
    else if (rest.starts_with('\n'))
      rest.remove_prefix(1);
    else
      continue;
    const auto text = rest.substr(0, rest.find("<|im_end|>"));
    // A quote or a brace: the string ended, and an expression follows.
    if (!text.empty() && text.size() < rest.size() && text.find_first_of("'\"{}\\") == text.npos)
      return std::string{text};
  }
  return {};
}

chat_style chatml_style(std::string_view program) {
  chat_style style{.family = chat_family::chatml, .tools = tool_form::hermes};
  style.default_system = default_system_of(program);
  if (has(style.default_system, "SmolLM") && !has(program, "<tool_call>"))
    style.tools = tool_form::smollm;
  return style;
}

chat_style llama3_style(std::string_view program) {
  chat_style style{.family = chat_family::llama3};
  if (has(program, "ipython") && has(program, "tools")) style.tools = tool_form::llama3;
  // Later templates ask for today's date. A fixed one keeps prompts the same from day to day, and
  // their common beginning shared; it is the date that the templates fall back to.
  if (has(program, "Cutting Knowledge Date"))
    style.preamble = "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n";
  return style;
}

chat_style mistral_style(std::string_view program) {
  chat_style style{.family = chat_family::mistral};
  if (!has(program, "[AVAILABLE_TOOLS]")) return style;
  const bool spaced = has(program, "[INST] ");
  style.tools = tool_form::mistral;
  style.inst_open = spaced ? "[INST] " : "[INST]";
  style.inst_close = "[/INST]";
  style.answer_open = spaced ? " " : "";
  style.system_last = true;
  return style;
}

// What the style's template would refuse, or we for it.
base::result<> check(
    const chat_style& style, std::span<const chat_message> messages,
    std::span<const chat_tool> offered) {
  const auto refuse = [](std::string why) { return error{errc::invalid_argument, std::move(why)}; };
  if (messages.empty()) return refuse("a conversation needs at least one message");
  bool tools = !offered.empty();
  for (std::size_t i = 0; i < messages.size(); ++i) {
    const auto& m = messages[i];
    if (m.role != "system" && m.role != "user" && m.role != "assistant" && m.role != "tool")
      return refuse(fmt::format("a message has the role '{}'", base::clip_utf8(m.role, 64)));
    tools |= m.role == "tool" || !m.tool_calls.empty();
    if (!m.tool_calls.empty() && m.role != "assistant")
      return refuse("tool calls are the assistant's");
    for (const auto& call : m.tool_calls) {
      boost::json::error_code ec;
      const auto arguments = boost::json::parse(call.arguments, ec);
      if (ec || !arguments.is_object())
        return refuse(fmt::format("the arguments of a call of '{}' are no JSON object", call.name))
            .about(fmt::format("messages[{}].tool_calls", i));
    }
  }
  if (tools && style.tools == tool_form::none)
    return error{
        errc::unsupported, "this model's template has no form for tools",
        "use a model that was trained to call functions"};
  return {};
}
}  // namespace

chat_template::chat_template(chat_family family) {
  style_.family = family;
  if (family == chat_family::chatml) style_.tools = tool_form::hermes;
  if (family == chat_family::gemma) style_.tools = tool_form::gemma;
}

base::result<chat_template> chat_template::from_text(std::string_view program) {
  if (has(program, "<|im_start|>")) return chat_template{chatml_style(program)};
  if (has(program, "<|start_header_id|>")) return chat_template{llama3_style(program)};
  if (has(program, "<start_of_turn>")) return chat_template{chat_family::gemma};
  if (has(program, "[INST]"))
    return has(program, "<<SYS>>") ? chat_template{chat_family::llama2}
                                   : chat_template{mistral_style(program)};
  if (has(program, "<|user|>") && has(program, "<|assistant|>") && !has(program, "<|end|>"))
    return chat_template{chat_family::zephyr};
  return error{
      errc::unsupported, "the model's chat template is of no family that is built in",
      "use a model with a ChatML, Llama 2 or 3, Mistral, Gemma or Zephyr template, or the "
      "completions endpoint with a prompt of your own"};
}

base::result<chat_template> chat_template::from(const gguf_file& file) {
  if (file.has("tokenizer.chat_template")) {
    const auto program = file.get_string("tokenizer.chat_template");
    if (!program) return program.error();
    return from_text(*program);
  }
  const auto tokens = file.get_strings("tokenizer.ggml.tokens");
  if (!tokens) return tokens.error();
  const auto known = [&](std::string_view name) {
    return std::ranges::find(*tokens, name) != tokens->end();
  };
  if (known("<|im_start|>") && known("<|im_end|>")) return chat_template{chat_family::chatml};
  if (known("<|start_header_id|>") && known("<|eot_id|>"))
    return chat_template{chat_family::llama3};
  if (known("<start_of_turn>") && known("<end_of_turn>")) return chat_template{chat_family::gemma};
  return chat_template{chat_family::plain};
}

base::result<std::vector<text_part>> chat_template::parts(
    std::span<const chat_message> messages, bool add_generation_prompt,
    std::span<const chat_tool> offered) const {
  std::vector<chat_message> turns{messages.begin(), messages.end()};
  for (auto& m : turns)
    if (m.role == "developer") m.role = "system";  // OpenAI's newer name for it
  if (auto checked = check(style_, turns, offered); !checked) return checked.error();
  const chat_request request{style_, turns, offered, add_generation_prompt};
  const auto render = [&] {
    switch (style_.family) {
      case chat_family::llama3:
        return render_llama3;
      case chat_family::gemma:
        return render_gemma;
      case chat_family::llama2:
      case chat_family::mistral:
        return render_instructions;
      default:
        return render_turns;
    }
  }();
  prompt_builder out;
  if (auto done = render(request, out); !done) return done.error();
  return out.take();
}

base::result<std::string> chat_template::render(
    std::span<const chat_message> messages, bool add_generation_prompt,
    std::span<const chat_tool> offered) const {
  const auto rendered = parts(messages, add_generation_prompt, offered);
  if (!rendered) return rendered.error();
  std::string text;
  for (const auto& p : *rendered) text += p.text;
  return text;
}

base::result<std::vector<token_id>> encode_chat(
    const tokenizer& vocabulary, const chat_template& how, std::span<const chat_message> messages,
    bool add_generation_prompt, std::span<const chat_tool> offered, std::string_view opening) {
  auto parts = how.parts(messages, add_generation_prompt, offered);
  if (!parts) return parts.error();
  parts->push_back({std::string{opening}, true});  // encoded as one text with what is before it
  return vocabulary.encode_prompt(*parts);
}

}  // namespace dlls::model

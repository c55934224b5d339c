#include "model/chat_template.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "base/encoding.hpp"

namespace dlls::model {
namespace {
using base::errc;
using base::error;

bool has(std::string_view text, std::string_view marker) { return text.find(marker) != text.npos; }

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view blanks = " \t\r\n";
  const auto first = text.find_first_not_of(blanks);
  if (first == text.npos) return {};
  return text.substr(first, text.find_last_not_of(blanks) - first + 1);
}

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

// Collects the parts: markers of the template, and what people wrote.
struct prompt_builder {
  std::vector<text_part> parts;
  void marker(std::string text) { parts.push_back({std::move(text), true}); }
  void content(std::string_view text) { parts.push_back({std::string{text}, false}); }
};

error bad_request(std::string message) { return {errc::invalid_argument, std::move(message)}; }

void render_turns(
    chat_family family, std::span<const chat_message> messages, bool open, prompt_builder& out) {
  // What stands around a turn.
  auto before = [family](const std::string& role) -> std::string {
    switch (family) {
      case chat_family::chatml:
        return "<|im_start|>" + role + "\n";
      case chat_family::llama3:
        return "<|start_header_id|>" + role + "<|end_header_id|>\n\n";
      case chat_family::zephyr:
        return "<|" + role + "|>\n";
      default:
        return role + ":";
    }
  };
  const std::string after = family == chat_family::chatml   ? "<|im_end|>\n"
                            : family == chat_family::llama3 ? "<|eot_id|>"
                            : family == chat_family::zephyr ? "</s>\n"
                                                            : "\n";
  for (const auto& m : messages) {
    out.marker(before(m.role) + (family == chat_family::plain ? " " : ""));
    out.content(family == chat_family::llama3 ? trimmed(m.content) : std::string_view{m.content});
    out.marker(after);
  }
  if (open) out.marker(before("assistant"));
}

// [INST] families: a turn is a question and its answer; the system message leads the first
// question.
base::result<> render_instructions(
    chat_family family, std::span<const chat_message> messages, prompt_builder& out) {
  std::string_view system;
  if (messages.front().role == "system") {
    system = messages.front().content;
    messages = messages.subspan(1);
  }
  for (std::size_t i = 0; i < messages.size(); ++i) {
    const auto& m = messages[i];
    const bool question = i % 2 == 0;
    if (m.role != (question ? "user" : "assistant"))
      return bad_request(
          "this model's template wants user and assistant to take turns, after at most one system "
          "message");
    if (!question) {
      out.marker(" ");
      out.content(trimmed(m.content));
      out.marker(family == chat_family::llama2 ? " </s>" : "</s>");
      continue;
    }
    // The first begin-of-text comes from tokenizer::encode_prompt.
    out.marker(i > 0 && family == chat_family::llama2 ? "<s>[INST] " : "[INST] ");
    if (i == 0 && !system.empty()) {
      if (family == chat_family::llama2) out.marker("<<SYS>>\n");
      out.content(trimmed(system));
      out.marker(family == chat_family::llama2 ? "\n<</SYS>>\n\n" : "\n\n");
    }
    out.content(trimmed(m.content));
    out.marker(" [/INST]");
  }
  if (messages.empty()) return bad_request("a conversation of a system message alone");
  return {};
}
}  // namespace

base::result<chat_template> chat_template::from_text(std::string_view program) {
  if (has(program, "<|im_start|>")) {
    chat_template made{chat_family::chatml};
    made.default_system_ = default_system_of(program);
    return made;
  }
  if (has(program, "<|start_header_id|>")) return chat_template{chat_family::llama3};
  if (has(program, "[INST]"))
    return chat_template{has(program, "<<SYS>>") ? chat_family::llama2 : chat_family::mistral};
  if (has(program, "<|user|>") && has(program, "<|assistant|>") && !has(program, "<|end|>"))
    return chat_template{chat_family::zephyr};
  return error{
      errc::unsupported, "the model's chat template is of no family that is built in",
      "use a model with a ChatML, Llama 2 or 3, Mistral or Zephyr template, or the completions "
      "endpoint with a prompt of your own"};
}

base::result<chat_template> chat_template::from(const gguf_file& file) {
  if (file.has("tokenizer.chat_template")) {
    const auto program = file.get_string("tokenizer.chat_template");
    if (!program) return program.error();
    return from_text(*program);
  }
  const auto tokens = file.get_strings("tokenizer.ggml.tokens");
  if (!tokens) return tokens.error();
  const bool chatml = std::ranges::find(*tokens, "<|im_start|>") != tokens->end() &&
                      std::ranges::find(*tokens, "<|im_end|>") != tokens->end();
  return chat_template{chatml ? chat_family::chatml : chat_family::plain};
}

base::result<std::vector<text_part>> chat_template::parts(
    std::span<const chat_message> messages, bool add_generation_prompt) const {
  if (messages.empty()) return bad_request("a conversation needs at least one message");
  std::vector<chat_message> turns{messages.begin(), messages.end()};
  for (auto& m : turns) {
    if (m.role == "developer") m.role = "system";  // OpenAI's newer name for it
    if (m.role != "system" && m.role != "user" && m.role != "assistant")
      return bad_request(fmt::format("a message has the role '{}'", base::clip_utf8(m.role, 64)));
  }
  prompt_builder out;
  if (family_ == chat_family::llama2 || family_ == chat_family::mistral) {
    // The answer follows a question without any opening.
    if (add_generation_prompt && turns.back().role == "assistant")
      return bad_request("the last message must be the user's for the model to answer");
    if (auto done = render_instructions(family_, turns, out); !done) return done.error();
    return std::move(out.parts);
  }
  if (!default_system_.empty() && turns.front().role != "system")
    turns.insert(turns.begin(), {"system", default_system_});
  render_turns(family_, turns, add_generation_prompt, out);
  return std::move(out.parts);
}

base::result<std::string> chat_template::render(
    std::span<const chat_message> messages, bool add_generation_prompt) const {
  const auto rendered = parts(messages, add_generation_prompt);
  if (!rendered) return rendered.error();
  std::string text;
  for (const auto& p : *rendered) text += p.text;
  return text;
}

base::result<std::vector<token_id>> encode_chat(
    const tokenizer& vocabulary, const chat_template& how, std::span<const chat_message> messages,
    bool add_generation_prompt) {
  const auto parts = how.parts(messages, add_generation_prompt);
  if (!parts) return parts.error();
  return vocabulary.encode_prompt(*parts);
}

}  // namespace dlls::model

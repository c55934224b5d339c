// A conversation as the text a chat model was trained on.
//
// Model files carry a Jinja program for this. We run no program out of a model file: the family is
// recognised by its markers, and the rendering is ours. Families:
//   chatml    <|im_start|>role\ncontent<|im_end|>\n   (SmolLM2, Qwen; a default system prompt in
//             the template text is kept and used when the conversation has none)
//   llama3    <|start_header_id|>role<|end_header_id|>\n\ncontent<|eot_id|>
//   llama2    [INST] <<SYS>>\nsystem\n<</SYS>>\n\nuser [/INST] answer</s>
//   mistral   [INST] user [/INST] answer</s>          (a system message leads the first user turn;
//             since v3 the last one, and brackets stand closer)
//   gemma     <start_of_turn>user\ncontent<end_of_turn>\n, and "model" for the assistant (a system
//             message leads the first user turn)
//   zephyr    <|role|>\ncontent</s>\n                 (TinyLlama chat)
//   plain     role: content\n                         (no template, and no tokens of a family)
// No family renders the begin-of-text token: tokenizer::encode_prompt adds it.
#pragma once
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "model/chat_tools.hpp"
#include "model/gguf.hpp"
#include "model/tokenizer.hpp"

namespace dlls::model {

struct chat_message {
  std::string role;  // system (or developer), user, assistant, tool
  std::string content;
  std::vector<tool_call> tool_calls;  // the assistant's
  std::string tool_call_id;           // of the call that a tool's message answers
  chat_message() = default;
  chat_message(std::string r, std::string c) : role(std::move(r)), content(std::move(c)) {}
};

enum class chat_family { chatml, llama3, llama2, mistral, gemma, zephyr, plain };

// How conversations are rendered: a family, and what its members do differently. Views are of
// literals.
struct chat_style {
  chat_family family = chat_family::plain;
  tool_form tools = tool_form::none;
  std::string default_system;  // where the conversation has none
  std::string_view preamble;   // llama3: what leads the system message, whether there is one or not
  // mistral: what stands before and after a question, and before an answer.
  std::string_view inst_open = "[INST] ", inst_close = " [/INST]", answer_open = " ";
  bool system_last = false;  // mistral: the system message leads the last question
};

// A value; immutable once made.
class chat_template {
 public:
  // By tokenizer.chat_template. Without one: the family whose tokens the vocabulary has (chatml,
  // llama3, gemma), else plain. unsupported, with a hint, for a template of no known family.
  static base::result<chat_template> from(const gguf_file& file);
  static base::result<chat_template> from_text(std::string_view template_text);
  // The family's first members, before tools; gemma and chatml with them.
  explicit chat_template(chat_family family);

  chat_family family() const noexcept { return style_.family; }
  tool_form tools() const noexcept { return style_.tools; }
  const std::string& default_system() const noexcept { return style_.default_system; }

  // The parts of the prompt: markers parse special tokens, what people and tools wrote does not
  // (text_part), so nobody can end his turn and speak as the system. (The [INST] markers are no
  // special tokens: there it is the model's training that tells them apart.)
  // `add_generation_prompt`: end with the opening of the assistant's turn. `offered`: the functions
  // that the model may call in its answer.
  // invalid_argument: an empty conversation, an unknown role, a tool call whose arguments are no
  // JSON object, or what the family's template refuses: turns that do not alternate (llama2,
  // mistral, gemma), several calls at once (llama3). unsupported: tools with a family that has no
  // form for them.
  base::result<std::vector<text_part>> parts(
      std::span<const chat_message> messages, bool add_generation_prompt,
      std::span<const chat_tool> offered = {}) const;
  // The same as one string. To encode, prefer parts(): here a message may contain markers.
  base::result<std::string> render(
      std::span<const chat_message> messages, bool add_generation_prompt,
      std::span<const chat_tool> offered = {}) const;

 private:
  explicit chat_template(chat_style style) : style_(std::move(style)) {}
  chat_style style_;
};

// The prompt's ids, bos() included where the model wants it; markers inside messages stay text.
// `opening`: markers with which the answer begins, after the opening of the assistant's turn.
base::result<std::vector<token_id>> encode_chat(
    const tokenizer& vocabulary, const chat_template& how, std::span<const chat_message> messages,
    bool add_generation_prompt = true, std::span<const chat_tool> offered = {},
    std::string_view opening = {});

}  // namespace dlls::model

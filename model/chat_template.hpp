// A conversation as the text a chat model was trained on.
//
// Model files carry a Jinja program for this. We run no program out of a model file: the family is
// recognised by its markers, and the rendering is ours. Families:
//   chatml    <|im_start|>role\ncontent<|im_end|>\n   (SmolLM2, Qwen2; a default system prompt in
//             the template text is kept and used when the conversation has none)
//   llama3    <|start_header_id|>role<|end_header_id|>\n\ncontent<|eot_id|>
//   llama2    [INST] <<SYS>>\nsystem\n<</SYS>>\n\nuser [/INST] answer</s>
//   mistral   [INST] user [/INST] answer</s>          (a system message leads the first user turn)
//   zephyr    <|role|>\ncontent</s>\n                 (TinyLlama chat)
//   plain     role: content\n                         (no template, and no ChatML tokens)
// No family renders the begin-of-text token: tokenizer::encode_prompt adds it.
#pragma once
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "model/gguf.hpp"
#include "model/tokenizer.hpp"

namespace dlls::model {

struct chat_message {
  std::string role;  // system (or developer), user, assistant
  std::string content;
  chat_message() = default;
  chat_message(std::string r, std::string c) : role(std::move(r)), content(std::move(c)) {}
};

enum class chat_family { chatml, llama3, llama2, mistral, zephyr, plain };

// A value; immutable once made.
class chat_template {
 public:
  // By tokenizer.chat_template. Without one: chatml when the vocabulary has its tokens, else plain.
  // unsupported, with a hint, for a template of no known family.
  static base::result<chat_template> from(const gguf_file& file);
  static base::result<chat_template> from_text(std::string_view template_text);
  explicit chat_template(chat_family family) : family_(family) {}

  chat_family family() const noexcept { return family_; }
  const std::string& default_system() const noexcept { return default_system_; }

  // The parts of the prompt: markers parse special tokens, what people wrote does not (text_part),
  // so nobody can end his turn and speak as the system. (The [INST] markers are no special tokens:
  // there it is the model's training that tells them apart.) `add_generation_prompt`: end with the
  // opening of the assistant's turn. invalid_argument for an empty conversation, an unknown role,
  // or, in the [INST] families, turns that do not alternate after at most one system message.
  base::result<std::vector<text_part>> parts(
      std::span<const chat_message> messages, bool add_generation_prompt) const;
  // The same as one string. To encode, prefer parts(): here a message may contain markers.
  base::result<std::string> render(
      std::span<const chat_message> messages, bool add_generation_prompt) const;

 private:
  chat_family family_;
  std::string default_system_;
};

// The prompt's ids, bos() included where the model wants it; markers inside messages stay text.
base::result<std::vector<token_id>> encode_chat(
    const tokenizer& vocabulary, const chat_template& how, std::span<const chat_message> messages,
    bool add_generation_prompt = true);

}  // namespace dlls::model

// The families' renderings. Internal to chat_template.
#pragma once
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "model/chat_template.hpp"

namespace dlls::model {

// Collects the parts: markers of the template, and what people and tools wrote.
class prompt_builder {
 public:
  void marker(std::string_view text) { add(text, true); }
  void content(std::string_view text) { add(text, false); }
  std::vector<text_part> take() { return std::move(parts_); }

 private:
  void add(std::string_view text, bool trusted);
  std::vector<text_part> parts_;
};

// A conversation that chat_template has checked: at least one message, known roles, "system" for
// "developer", tools only where the style has a form for them, every call's arguments an object.
struct chat_request {
  const chat_style& style;
  std::span<const chat_message> messages;
  std::span<const chat_tool> offered;
  bool open;  // the assistant's turn
};

// What the system says, taken off the front; none where it says nothing.
std::optional<std::string_view> take_system(std::span<const chat_message>& messages);

// chatml, zephyr, plain.
base::result<> render_turns(const chat_request& request, prompt_builder& out);
base::result<> render_llama3(const chat_request& request, prompt_builder& out);
base::result<> render_gemma(const chat_request& request, prompt_builder& out);
// llama2, mistral.
base::result<> render_instructions(const chat_request& request, prompt_builder& out);

// The arguments of a call in Python's spelling.
std::string spelled_arguments(const tool_call& call);

}  // namespace dlls::model

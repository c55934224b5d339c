// Functions that a client offers a chat model, and the calls that the model makes of them.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"

namespace dlls::model {

// How a family writes tools down and calls them.
enum class tool_form {
  none,     // it was not trained to
  hermes,   // signatures in <tools>, <tool_call>\n{"name": ..., "arguments": ...}\n</tool_call>
            // (Qwen 2.5 and 3, Hermes; other ChatML models do well with it too)
  smollm,   // the same with one list of calls, and a prompt of its own (SmolLM2)
  llama3,   // {"name": ..., "parameters": ...} as the whole answer (LLaMA 3.1 and later)
  mistral,  // [TOOL_CALLS] [{"name": ..., "arguments": ..., "id": ...}] (since v3)
  gemma     // as llama3, a list when there are several; Google's guide, not the template, says so
};

struct chat_tool {
  std::string name;
  // The client's JSON, written as the models know it.
  std::string line;        // {"type": "function", "function": {...}} in one line
  std::string indented;    // the same, four spaces deep
  std::string function;    // the inner object in one line
  std::string parameters;  // the schema of its arguments; empty: none was given
  bool strict = false;     // the schema is to be kept to
};

// 1 to 64 of [A-Za-z0-9_-].
bool is_tool_name(std::string_view name);

// OpenAI's `tools`: an array of {"type": "function", "function": {"name", "description",
// "parameters", "strict"}}. invalid_argument, about the place ("tools[3].function.name"): no such
// thing, a name that is not 1 to 64 of [A-Za-z0-9_-], a name twice, more than 128 tools, or nesting
// beyond 32.
base::result<std::vector<chat_tool>> parse_chat_tools(std::string_view json);

struct tool_call {
  std::string id;         // empty where the model gave none: the caller makes one
  std::string name;       //
  std::string arguments;  // a JSON object, as text
};

}  // namespace dlls::model

// Answers that have to be a call.
#pragma once
#include <span>
#include <string>
#include <string_view>

#include "base/error.hpp"
#include "model/chat_tools.hpp"
#include "model/grammar.hpp"

namespace dlls::model {

// One call in the family's form.
struct tool_call_form {
  std::string
      opening;    // markers; follows the prompt, the answer follows it; tool_call_reader reads both
  grammar rules;  // of the answer
};

// A call of one of `offered`, or of the one that `only` names. Its arguments keep to the function's
// schema; keywords that json_schema_grammar does not know are passed over where the function is not
// strict. A schema that is not plainly an object's is any object, or refused for a strict function.
// unsupported: the family has no form for calls; invalid_argument: nothing is offered, or not that
// one (about "tool_choice"). Else as json_schema_grammar, about the place
// ("tools[3].function.parameters").
base::result<tool_call_form> required_tool_call(
    tool_form form, std::span<const chat_tool> offered, std::string_view only = {});

}  // namespace dlls::model

// What every JSON grammar is made of (RFC 8259), written so that a model cannot lose itself in it:
//
//   blanks   none, one space, or one new line and at most 32 spaces; after '{', '[' and ',' and
//            before '}' and ']'. After ':' none or one space. Nowhere else.
//   strings  well-formed UTF-8 and all escapes; \u only in pairs that make a character
//   numbers  at most 18 digits before the point, 18 after it, 2 in the exponent: they fit 64 bits
//   any      values nest at most 32 levels deep
#pragma once
#include "model/grammar.hpp"

namespace dlls::model {

inline constexpr std::size_t json_any_depth_max = 32;

// First states.
struct json_rules {
  grammar_state blank, string, integer, number, array, object, any;
  // A state at which the rule that comes to it ends.
  grammar_state end;
};

// Goes first into a builder: these states are shared() by all JSON grammars.
json_rules add_json_rules(grammar_builder& to);

// `from`, perhaps a blank, `last`, end.
void close_json(grammar_builder& in, const json_rules& rules, grammar_state from, char last);
// `from`, `first`, perhaps a blank: the state where that leads.
grammar_state open_json(
    grammar_builder& in, const json_rules& rules, grammar_state from, char first);
// `from`, perhaps a space, `value`: the state where that leads.
grammar_state add_json_value(grammar_builder& in, grammar_state from, grammar_state value);

}  // namespace dlls::model

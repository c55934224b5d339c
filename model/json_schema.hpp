// From a JSON schema to the grammar of the JSON texts that satisfy it: what OpenAI's structured
// outputs call strict mode, and a little more.
//
//   type        object, array, string, number, integer, boolean, null, or a list of those
//   properties  in the schema's order; those not in `required` may be left out; no others come
//   items, minItems, maxItems
//   enum, const any JSON values, written without blanks
//   anyOf       beside annotations only; $ref too, to a place in the same schema ("#/$defs/x"),
//               which may contain the $ref itself
//   true, {}    any value; an object without properties and an array without items: any of them
//
// title, description, default, examples, deprecated, readOnly, writeOnly, $schema, $id and $comment
// say nothing about the text and are passed over. What else a schema may hold is refused by name:
// pattern, format, minimum, multipleOf, minLength, oneOf, allOf, additionalProperties other than
// false, ... Blanks, strings and numbers: json_rules.hpp.
#pragma once
#include <cstddef>
#include <string_view>

#include "base/error.hpp"
#include "model/json_rules.hpp"

namespace dlls::model {

struct json_schema_limits {              // OpenAI's, but for the last three
  std::size_t depth_max = 10;            // objects and arrays in one another, $ref apart
  std::size_t properties_max = 5000;     // in all
  std::size_t text_bytes_max = 120'000;  // of names and of values in enum and const, in all
  std::size_t enum_values_max = 1000;    // in all
  std::size_t alternatives_max = 1000;   // of anyOf, in all
  std::size_t items_max = 1000;          // of minItems and maxItems
  std::size_t states_max = 1u << 17;     // of the grammar
};

// Fast, and in bounded memory, whatever the text. invalid_argument: no JSON, no schema, past a
// limit, or nothing satisfies it; unsupported: a keyword of those refused. The message names the
// place, a JSON pointer: "schema at #/properties/a: ...".
base::result<grammar> json_schema_grammar(
    std::string_view schema, const json_schema_limits& limits = {});

// What becomes of the keywords that are refused above.
enum class unknown_keywords { refuse, pass_over };

// The same as a rule of a larger grammar, whose builder add_json_rules() went into first. Throws
// base::failure; states_max is the builder's.
grammar_state add_json_schema(
    grammar_builder& to, const json_rules& rules, std::string_view schema,
    unknown_keywords unknown = unknown_keywords::refuse, const json_schema_limits& limits = {});

// The schema of "json_object" mode: any object.
inline constexpr std::string_view any_json_object = R"({"type":"object"})";

}  // namespace dlls::model

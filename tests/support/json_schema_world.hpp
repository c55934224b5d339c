// Random schemas, random texts of their grammars, and a judge that knows nothing of grammars.
#pragma once
#include <algorithm>
#include <bitset>
#include <boost/json.hpp>
#include <string>

#include "base/random.hpp"
#include "model/grammar_matcher.hpp"

namespace dlls::test {
namespace json = boost::json;

// Whether a value satisfies a schema of the kind that model/json_schema.hpp supports, by the
// meaning of its keywords. The order of properties counts, and no others may come. A value that
// satisfies a schema in circles alone does not: `circles` is how many more references to follow.
inline bool satisfies(
    const json::value& value, const json::value& schema, const json::value& root, int circles = 4) {
  if (schema.is_bool()) return schema.get_bool();
  const auto& s = schema.get_object();
  if (const auto* ref = s.if_contains("$ref")) {
    boost::system::error_code wrong;
    const auto* to = root.find_pointer(ref->get_string().subview(1), wrong);
    return to && circles > 0 && satisfies(value, *to, root, circles - 1);
  }
  if (const auto* any = s.if_contains("anyOf"))
    return std::ranges::any_of(
        any->get_array(), [&](auto& one) { return satisfies(value, one, root, circles); });
  if (const auto* list = s.if_contains("enum"))
    return std::ranges::find(list->get_array(), value) != list->get_array().end();
  const auto is = [&](const json::value& type) {
    const auto& name = type.get_string();
    return (name == "object" && value.is_object()) || (name == "array" && value.is_array()) ||
           (name == "string" && value.is_string()) || (name == "boolean" && value.is_bool()) ||
           (name == "null" && value.is_null()) || (name == "number" && value.is_number()) ||
           (name == "integer" && (value.is_int64() || value.is_uint64()));
  };
  if (const auto* type = s.if_contains("type")) {
    if (type->is_array() ? std::ranges::none_of(type->get_array(), is) : !is(*type)) return false;
  }
  if (const auto* members = value.if_object(); members && s.contains("properties")) {
    const auto& properties = s.at("properties").get_object();
    auto at = properties.begin();
    for (const auto& member : *members) {
      at = std::find_if(at, properties.end(), [&](auto& p) { return p.key() == member.key(); });
      if (at == properties.end() || !satisfies(member.value(), at++->value(), root)) return false;
    }
    if (const auto* required = s.if_contains("required"))
      for (const auto& name : required->get_array())
        if (!members->contains(name.get_string())) return false;
  }
  if (const auto* list = value.if_array()) {
    if (const auto* least = s.if_contains("minItems");
        least && list->size() < least->to_number<std::size_t>())
      return false;
    if (const auto* most = s.if_contains("maxItems");
        most && list->size() > most->to_number<std::size_t>())
      return false;
    if (const auto* items = s.if_contains("items"))
      return std::ranges::all_of(*list, [&](auto& i) { return satisfies(i, *items, root); });
  }
  return true;
}

inline json::value random_part(base::random_source& random, int depth) {
  const auto kind = random.below(depth > 0 ? 12 : 7);
  const auto inner = [&] { return random_part(random, depth - 1); };
  if (kind < 4) {
    constexpr const char* types[] = {"string", "integer", "boolean", "number"};
    return json::object{{"type", types[kind]}};
  }
  if (kind == 4) return json::object{{"type", {"null", "integer", "string"}}};
  if (kind == 5) {
    const json::array values{"a",  "ab",    "\xC3\xA9\"\\",     1, 12, -7,
                             true, nullptr, json::array{1, "x"}};
    json::array some;
    for (const auto& v : values)
      if (random.below(2)) some.push_back(v);
    some.push_back("end");
    return json::object{{"enum", some}};
  }
  if (kind == 6)
    return json::object{{"$ref", std::string{"#/$defs/d"} + std::to_string(random.below(3))}};
  if (kind == 7) {
    json::array some;
    for (auto n = 1 + random.below(4); n > 0; --n) some.push_back(inner());
    return json::object{{"anyOf", some}};
  }
  if (kind == 8) {
    json::object list{{"type", "array"}, {"items", inner()}};
    if (random.below(2)) list["minItems"] = random.below(3);
    if (random.below(2)) list["maxItems"] = 2 + random.below(3);
    return list;
  }
  json::object properties;
  json::array required;
  constexpr const char* names[] = {"name", "n", "na", "quote\"", "\xC3\xA9t\xC3\xA9", "z"};
  for (const auto* name : names) {
    if (random.below(2)) continue;
    properties[name] = inner();
    if (random.below(3)) required.push_back(name);
  }
  return json::object{
      {"type", "object"},
      {"properties", properties},
      {"required", required},
      {"additionalProperties", false}};
}

inline json::value random_schema(base::random_source& random) {
  json::object definitions;
  for (int i = 0; i < 3; ++i)
    definitions[std::string{"d"} + std::to_string(i)] = random_part(random, i == 0 ? 0 : 2);
  auto root = random_part(random, 3).as_object();
  root["$defs"] = definitions;
  return root;
}

// The bytes that may come next.
inline std::bitset<256> next_bytes(model::grammar_matcher& text) {
  std::bitset<256> good;
  for (unsigned byte = 0; byte < 256; ++byte)
    if (text.push(static_cast<std::uint8_t>(byte))) good[byte] = true, text.pop();
  return good;
}

struct walked_text {
  std::string bytes;
  bool complete = false;  // else it was cut
};

// Any byte that may come, but rather one that brings the end nearer.
inline walked_text random_text(
    model::grammar_matcher& text, base::random_source& random, std::size_t bytes_max) {
  walked_text made;
  while (made.bytes.size() < bytes_max) {
    made.complete = text.complete();
    if (made.complete && (!text.open() || random.below(3) == 0)) return made;
    const auto good = next_bytes(text);
    std::string all, closing;
    for (unsigned byte = 0; byte < 256; ++byte) {
      if (!good[byte]) continue;
      all += static_cast<char>(byte);
      if (std::string_view{"\"]}"}.find(static_cast<char>(byte)) != std::string_view::npos)
        closing += static_cast<char>(byte);
    }
    // In a long text, straight to the end.
    const bool hurry = random.below(bytes_max) < 4 * made.bytes.size() || random.below(3) == 0;
    const auto& from = hurry && !closing.empty() ? closing : all;
    made.bytes += from[random.below(from.size())];
    text.push(static_cast<std::uint8_t>(made.bytes.back()));
    if (random.below(8) == 0) text.commit();
  }
  made.complete = text.complete();
  return made;
}

}  // namespace dlls::test

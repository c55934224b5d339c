#include "model/json_schema.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <boost/json.hpp>
#include <cmath>
#include <deque>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/encoding.hpp"
#include "model/json_rules.hpp"

namespace dlls::model {
namespace json = boost::json;
using base::errc;
using base::error;
using base::failure;

namespace {

constexpr std::size_t parse_depth_max = 64;
// Of what an error says: names may be as long as the schema.
constexpr std::size_t place_bytes_max = 256, message_bytes_max = 1024;
constexpr std::array<std::string_view, 12> annotations{
    "title",     "description", "default", "examples", "deprecated", "readOnly",
    "writeOnly", "$schema",     "$id",     "$comment", "$defs",      "definitions"};
constexpr std::array<std::string_view, 9> constraints{
    "type",     "properties", "required", "additionalProperties", "items", "minItems",
    "maxItems", "enum",       "const"};

std::string_view view(const json::string& s) { return {s.data(), s.size()}; }
std::string_view view(json::string_view s) { return {s.data(), s.size()}; }

// A step of a JSON pointer (RFC 6901).
std::string pointer_step(std::string_view name) {
  std::string step = "/";
  for (const char c : name)
    if (c == '~')
      step += "~0";
    else if (c == '/')
      step += "~1";
    else
      step += c;
  return step;
}

// Without blanks, numbers as short as they go.
void write(const json::value& value, std::string& to) {
  auto separate = [&to, first = true](char begin) mutable {
    to += std::exchange(first, false) ? begin : ',';
  };
  if (const auto* list = value.if_array()) {
    if (list->empty()) separate('[');
    for (const auto& item : *list) separate('['), write(item, to);
    to += ']';
  } else if (const auto* members = value.if_object()) {
    if (members->empty()) separate('{');
    for (const auto& [name, member] : *members) {
      separate('{');
      to += json::serialize(json::string(name));
      to += ':';
      write(member, to);
    }
    to += '}';
  } else if (const auto* number = value.if_double()) {
    if (!std::isfinite(*number))
      throw failure{error{errc::invalid_argument, "a number in 'enum' or 'const' is too large"}};
    to += fmt::format("{}", *number);
  } else {
    to += json::serialize(value);
  }
}

bool is_a(const json::value& value, std::string_view type) {
  if (type == "object") return value.is_object();
  if (type == "array") return value.is_array();
  if (type == "string") return value.is_string();
  if (type == "boolean") return value.is_bool();
  if (type == "null") return value.is_null();
  if (const auto* number = value.if_double(); number && type == "integer")
    return std::trunc(*number) == *number;
  if (type == "integer") return value.is_int64() || value.is_uint64();
  return value.is_number();
}

// A schema inside the whole, its place for people, and how deep it lies.
struct part {
  const json::value* schema;
  std::string at;
  std::size_t depth;

  [[noreturn]] void fail(std::string_view why, errc code = errc::invalid_argument) const {
    const auto message = fmt::format("schema at {}: {}", at, why);
    throw failure{error{code, base::clip_utf8(message, message_bytes_max)}};
  }
  [[noreturn]] void unsupported(std::string_view what) const {
    fail(fmt::format("{} is not supported", what), errc::unsupported);
  }
  part inner(const json::value& value, std::string_view step, std::size_t deeper = 0) const {
    return {&value, place(at + std::string{step}), depth + deeper};
  }
  static std::string place(std::string_view pointer) {
    return base::clip_utf8(pointer, place_bytes_max);
  }
  const json::value* find(std::string_view keyword) const {
    return schema->get_object().if_contains(json::string_view{keyword.data(), keyword.size()});
  }
  const json::array* list(std::string_view keyword) const {
    const auto* found = find(keyword);
    if (found && !found->is_array()) fail(fmt::format("'{}' must be an array", keyword));
    return found ? &found->get_array() : nullptr;
  }
};

class compiler {
 public:
  compiler(
      const json::value& root, const json_schema_limits& limits, unknown_keywords unknown,
      grammar_builder& to, const json_rules& rules)
      : limits_(limits), unknown_(unknown), root_(root), to_(to), rules_(rules) {}

  grammar_state compile() {
    const auto start = rule({&root_, "#", 0});
    // A queue instead of recursion: a chain of $ref is as long as it likes.
    while (!waiting_.empty()) {
      const auto [next, state] = std::move(waiting_.front());
      waiting_.pop_front();
      add(next, state);
    }
    return start;
  }

 private:
  grammar_state rule(part of);
  void add(const part& of, grammar_state start);
  void add_reference(const part& of, grammar_state start);
  void add_alternatives(const part& of, grammar_state start);
  void add_values(const part& of, grammar_state start);
  void add_type(const part& of, std::string_view type, grammar_state start);
  void add_object(const part& of, grammar_state start);
  void add_array(const part& of, grammar_state start);

  std::vector<std::string> types_of(const part& of) const;
  std::size_t count_of(const part& of, std::string_view keyword, std::size_t otherwise) const;
  void spend(
      const part& of, std::size_t& spent, std::size_t more, std::size_t most,
      std::string_view what) const;
  void alone(const part& of, std::string_view keyword) const;
  void unknown(const part& of, std::string_view what) const {
    if (unknown_ == unknown_keywords::refuse) of.unsupported(what);
  }

  const json_schema_limits& limits_;
  const unknown_keywords unknown_;
  const json::value& root_;
  grammar_builder& to_;
  const json_rules& rules_;
  std::unordered_map<const json::value*, grammar_state> known_;
  std::deque<std::pair<part, grammar_state>> waiting_;
  std::size_t properties_ = 0, text_bytes_ = 0, enum_values_ = 0, alternatives_ = 0;
};

void compiler::spend(
    const part& of, std::size_t& spent, std::size_t more, std::size_t most,
    std::string_view what) const {
  spent += more;
  if (spent > most) of.fail(fmt::format("more than {} {} in one schema", most, what));
}

// The keyword's schema has no others that would have to hold as well.
void compiler::alone(const part& of, std::string_view keyword) const {
  for (const auto& member : of.schema->get_object()) {
    const auto name = view(member.key());
    if (name != keyword && std::ranges::find(annotations, name) == annotations.end())
      unknown(of, fmt::format("'{}' beside '{}'", name, keyword));
  }
}

grammar_state compiler::rule(part of) {
  const auto [known, fresh] = known_.try_emplace(of.schema, grammar_state{});
  if (fresh) {
    if (of.depth > limits_.depth_max)
      of.fail(fmt::format("nested more than {} levels deep", limits_.depth_max));
    known->second = to_.add();
    waiting_.emplace_back(std::move(of), known->second);
  }
  return known->second;
}

void compiler::add(const part& of, grammar_state start) {
  if (const auto* any = of.schema->if_bool()) {
    if (*any) to_.call(start, rules_.any, rules_.end);
    return;  // false: nothing
  }
  if (!of.schema->is_object()) of.fail("a schema is an object");
  if (of.find("$ref")) return add_reference(of, start);
  if (of.find("anyOf")) return add_alternatives(of, start);
  for (const auto& member : of.schema->get_object()) {
    const auto name = view(member.key());
    if (std::ranges::find(annotations, name) == annotations.end() &&
        std::ranges::find(constraints, name) == constraints.end())
      unknown(of, fmt::format("'{}'", name));
  }
  if (of.find("enum") || of.find("const")) return add_values(of, start);
  const auto types = types_of(of);
  if (types.empty()) to_.call(start, rules_.any, rules_.end);
  for (const auto& type : types) add_type(of, type, start);
}

void compiler::add_reference(const part& of, grammar_state start) {
  alone(of, "$ref");
  const auto* text = of.find("$ref")->if_string();
  if (!text || !text->starts_with('#')) {
    unknown(of, "a '$ref' that does not begin with '#'");
    return to_.call(start, rules_.any, rules_.end);
  }
  const auto place = view(*text).substr(1);
  boost::system::error_code wrong;
  const auto* target = root_.find_pointer({place.data(), place.size()}, wrong);
  if (!target) of.fail(fmt::format("'$ref' leads nowhere: {}", view(*text)));
  to_.call(start, rule({target, part::place(view(*text)), 0}), rules_.end);
}

void compiler::add_alternatives(const part& of, grammar_state start) {
  alone(of, "anyOf");
  const auto* list = of.list("anyOf");
  if (list->empty()) of.fail("'anyOf' is empty");
  spend(of, alternatives_, list->size(), limits_.alternatives_max, "alternatives");
  for (std::size_t i = 0; i < list->size(); ++i)
    to_.call(start, rule(of.inner((*list)[i], fmt::format("/anyOf/{}", i))), rules_.end);
}

void compiler::add_values(const part& of, grammar_state start) {
  for (const auto& member : of.schema->get_object())
    if (const auto name = view(member.key());
        name != "enum" && name != "const" && name != "type" &&
        std::ranges::find(annotations, name) == annotations.end())
      unknown(of, fmt::format("'{}' beside 'enum' or 'const'", name));
  const auto types = types_of(of);
  const auto* only = of.find("const");
  const auto add_one = [&](const json::value& value) {
    if (only && value != *only) return;
    if (!types.empty() && std::ranges::none_of(types, [&](auto& t) { return is_a(value, t); }))
      return;
    std::string text;
    write(value, text);
    spend(of, text_bytes_, text.size(), limits_.text_bytes_max, "bytes of names and values");
    to_.end(to_.spell(start, text));
  };
  const auto* list = of.list("enum");
  if (!list) return add_one(*only);
  spend(of, enum_values_, list->size(), limits_.enum_values_max, "values of 'enum'");
  for (const auto& value : *list) add_one(value);
}

std::vector<std::string> compiler::types_of(const part& of) const {
  constexpr std::array<std::string_view, 7> all{"object",  "array",   "string", "number",
                                                "integer", "boolean", "null"};
  std::vector<std::string> types;
  const auto take = [&](const json::value& one) {
    const auto* name = one.if_string();
    if (!name || std::ranges::find(all, view(*name)) == all.end())
      of.fail("'type' is none of object, array, string, number, integer, boolean, null");
    if (std::ranges::find(types, view(*name)) == types.end()) types.emplace_back(view(*name));
  };
  const auto* type = of.find("type");
  if (!type) {
    const auto speaks_of = [&](auto... keywords) { return (of.find(keywords) || ...); };
    if (speaks_of("properties", "required", "additionalProperties")) types.emplace_back("object");
    if (speaks_of("items", "minItems", "maxItems")) types.emplace_back("array");
  } else if (const auto* list = type->if_array()) {
    for (const auto& one : *list) take(one);
    if (list->empty()) of.fail("'type' is empty");
  } else {
    take(*type);
  }
  return types;
}

void compiler::add_type(const part& of, std::string_view type, grammar_state start) {
  if (type == "object") return add_object(of, start);
  if (type == "array") return add_array(of, start);
  if (type == "string") return to_.call(start, rules_.string, rules_.end);
  if (type == "number") return to_.call(start, rules_.number, rules_.end);
  if (type == "integer") return to_.call(start, rules_.integer, rules_.end);
  if (type == "null") return to_.end(to_.spell(start, "null"));
  for (const auto word : {"true", "false"}) to_.end(to_.spell(start, word));
}

// Properties in their order, those not required perhaps not at all.
void compiler::add_object(const part& of, grammar_state start) {
  if (const auto* more = of.find("additionalProperties"); more && *more != json::value(false))
    unknown(of, "'additionalProperties' other than false");
  const auto* found = of.find("properties");
  if (!found && unknown_ == unknown_keywords::pass_over)
    return to_.call(start, rules_.object, rules_.end);
  const auto* names = of.list("required");
  if (!found && !of.find("additionalProperties") && (!names || names->empty()))
    return to_.call(start, rules_.object, rules_.end);
  if (found && !found->is_object()) of.fail("'properties' must be an object");
  const json::object no_properties;
  const auto& properties = found ? found->get_object() : no_properties;
  spend(of, properties_, properties.size(), limits_.properties_max, "properties");

  std::vector<bool> required(properties.size());
  if (names)
    for (const auto& name : *names) {
      const auto* text = name.if_string();
      const auto at = text ? properties.find(*text) : properties.end();
      if (at == properties.end()) of.fail("'required' names what is not in 'properties'");
      required[static_cast<std::size_t>(at - properties.begin())] = true;
    }
  std::vector<std::pair<std::string, grammar_state>> members;
  for (const auto& member : properties) {
    const auto name = view(member.key());
    spend(of, text_bytes_, name.size(), limits_.text_bytes_max, "bytes of names and values");
    members.emplace_back(
        json::serialize(json::string(member.key())) + ":",
        rule(of.inner(member.value(), "/properties" + pointer_step(name), 1)));
  }

  // From `at`, property i or one after it; true: all of them may be left out.
  std::vector<grammar_state> after(members.size());
  for (auto& state : after) state = to_.add();
  const auto choose = [&](grammar_state at, std::size_t i) {
    for (; i < members.size(); ++i) {
      const auto& [name, value] = members[i];
      const auto named = to_.spell(at, name);
      to_.call(named, value, after[i]);
      to_.call(to_.spell(named, " "), value, after[i]);
      if (required[i]) return false;
    }
    return true;
  };
  const auto inside = open_json(to_, rules_, start, '{');
  if (choose(inside, 0)) to_.byte(inside, '}', rules_.end);
  for (std::size_t i = 0; i < members.size(); ++i) {
    const bool last = i + 1 == members.size();
    if (last || choose(open_json(to_, rules_, after[i], ','), i + 1))
      close_json(to_, rules_, after[i], '}');
  }
}

std::size_t compiler::count_of(
    const part& of, std::string_view keyword, std::size_t otherwise) const {
  const auto* found = of.find(keyword);
  if (!found) return otherwise;
  boost::system::error_code wrong;
  const auto count = found->is_number() ? found->to_number<std::uint64_t>(wrong) : 0;
  if (!found->is_number() || wrong) of.fail(fmt::format("'{}' must be a count", keyword));
  if (count > limits_.items_max)
    of.fail(fmt::format("'{}' is more than {}", keyword, limits_.items_max));
  return count;
}

void compiler::add_array(const part& of, grammar_state start) {
  const auto least = count_of(of, "minItems", 0);
  const bool bounded = of.find("maxItems") != nullptr;
  const auto most = bounded ? count_of(of, "maxItems", 0) : std::max<std::size_t>(least, 1);
  if (bounded && most < least) of.fail("'maxItems' is less than 'minItems'");
  const auto* items = of.find("items");
  const auto item = items ? rule(of.inner(*items, "/items", 1)) : rules_.any;
  const auto inside = open_json(to_, rules_, start, '[');
  if (least == 0) to_.byte(inside, ']', rules_.end);
  auto before = inside;
  for (std::size_t n = 1; n <= most; ++n) {
    const auto after = to_.add();
    to_.call(before, item, after);
    if (n >= least) close_json(to_, rules_, after, ']');
    if (n < most || !bounded) before = open_json(to_, rules_, after, ',');
    if (n == most && !bounded) to_.call(before, item, after);  // and so on
  }
}

}  // namespace

grammar_state add_json_schema(
    grammar_builder& to, const json_rules& rules, std::string_view schema, unknown_keywords unknown,
    const json_schema_limits& limits) {
  json::parse_options options;
  options.max_depth = parse_depth_max;
  boost::system::error_code wrong;
  const auto root = json::parse({schema.data(), schema.size()}, wrong, {}, options);
  if (wrong)
    throw failure{error{errc::invalid_argument, "the schema is no JSON: " + wrong.message()}};
  try {
    return compiler{root, limits, unknown, to, rules}.compile();
  } catch (const failure& why) {
    const auto& known = why.why().message;
    if (known.starts_with("schema")) throw;
    throw failure{error{why.why().code, "schema at #: " + known}};
  }
}

base::result<grammar> json_schema_grammar(
    std::string_view schema, const json_schema_limits& limits) {
  try {
    grammar_builder to{limits.states_max};
    const auto rules = add_json_rules(to);
    const auto start = add_json_schema(to, rules, schema, unknown_keywords::refuse, limits);
    auto made = std::move(to).build(start);
    if (!made) return error{made.error().code, "schema at #: " + made.error().message};
    return made;
  } catch (const failure& why) {
    return why.why();
  }
}

}  // namespace dlls::model

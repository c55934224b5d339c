#include "model/json_rules.hpp"

#include <initializer_list>
#include <utility>

namespace dlls::model {
namespace {

constexpr int indent_max = 32;
constexpr int digits_max = 18;
constexpr int exponent_digits_max = 2;

using range = std::pair<std::uint8_t, std::uint8_t>;

void bytes(
    grammar_builder& in, grammar_state from, std::initializer_list<range> some, grammar_state to) {
  for (const auto& [low, high] : some) in.byte(from, low, high, to);
}

void hexadecimal(grammar_builder& in, grammar_state from, grammar_state to) {
  bytes(in, from, {{'0', '9'}, {'A', 'F'}, {'a', 'f'}}, to);
}

grammar_state add_blank(grammar_builder& in) {
  const auto start = in.add();
  in.end(start);
  in.end(in.spell(start, " "));
  auto at = in.spell(start, "\n");
  in.end(at);
  for (int i = 0; i < indent_max; ++i) in.end(at = in.spell(at, " "));
  return start;
}

// RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF.
void add_utf8(grammar_builder& in, grammar_state from, grammar_state to) {
  const auto one = in.add(), two = in.add(), three = in.add();
  bytes(in, one, {{0x80, 0xBF}}, to);
  bytes(in, two, {{0x80, 0xBF}}, one);
  bytes(in, three, {{0x80, 0xBF}}, two);
  const auto first = [&](std::uint8_t lead, range second, grammar_state then) {
    const auto at = in.add();
    in.byte(from, lead, lead, at);
    bytes(in, at, {second}, then);
  };
  bytes(in, from, {{0xC2, 0xDF}}, one);
  first(0xE0, {0xA0, 0xBF}, one);
  bytes(in, from, {{0xE1, 0xEC}, {0xEE, 0xEF}}, two);
  first(0xED, {0x80, 0x9F}, one);
  first(0xF0, {0x90, 0xBF}, two);
  bytes(in, from, {{0xF1, 0xF3}}, three);
  first(0xF4, {0x80, 0x8F}, two);
}

// What follows a backslash. UTF-16: a high surrogate comes with its low one.
void add_escape(grammar_builder& in, grammar_state from, grammar_state to) {
  for (const char c : {'"', '\\', '/', 'b', 'f', 'n', 'r', 't'}) in.byte(from, c, to);
  const auto u = in.spell(from, "u");
  const auto second = in.add(), third = in.add(), fourth = in.add();
  bytes(in, u, {{'0', '9'}, {'A', 'C'}, {'E', 'F'}, {'a', 'c'}, {'e', 'f'}}, second);
  hexadecimal(in, second, third);
  hexadecimal(in, third, fourth);
  hexadecimal(in, fourth, to);
  const auto d = in.add(), high = in.add(), high_last = in.add(), paired = in.add();
  bytes(in, u, {{'D', 'D'}, {'d', 'd'}}, d);
  bytes(in, d, {{'0', '7'}}, third);
  bytes(in, d, {{'8', '9'}, {'A', 'B'}, {'a', 'b'}}, high);
  hexadecimal(in, high, high_last);
  hexadecimal(in, high_last, paired);
  const auto low = in.spell(paired, "\\u"), low_d = in.add();
  bytes(in, low, {{'D', 'D'}, {'d', 'd'}}, low_d);
  bytes(in, low_d, {{'C', 'F'}, {'c', 'f'}}, third);
}

grammar_state add_string(grammar_builder& in, grammar_state end) {
  const auto start = in.add(), inside = in.add();
  in.byte(start, '"', inside);
  bytes(in, inside, {{' ', '!'}, {'#', '['}, {']', 0x7F}}, inside);
  add_utf8(in, inside, inside);
  add_escape(in, in.spell(inside, "\\"), inside);
  in.byte(inside, '"', end);
  return start;
}

// A chain of states that a digit leads along, from the second of `most` on; the rule may end in
// each.
std::vector<grammar_state> add_digits(grammar_builder& in, grammar_state first, int most) {
  std::vector<grammar_state> chain{first};
  while (static_cast<int>(chain.size()) < most) {
    chain.push_back(in.add());
    in.byte(chain[chain.size() - 2], '0', '9', chain.back());
  }
  for (const auto s : chain) in.end(s);
  return chain;
}

grammar_state add_number(grammar_builder& in, bool whole) {
  const auto start = in.add(), zero = in.add(), some = in.add();
  const auto minus = in.spell(start, "-");
  for (const auto from : {start, minus}) {
    in.byte(from, '0', zero);
    in.byte(from, '1', '9', some);
  }
  in.end(zero);
  auto digits = add_digits(in, some, digits_max);
  if (whole) return start;
  digits.push_back(zero);
  const auto point = in.add(), fraction = in.add(), exponent = in.add(), power = in.add();
  for (const auto s : digits) in.byte(s, '.', point);
  in.byte(point, '0', '9', fraction);
  const auto fractions = add_digits(in, fraction, digits_max);
  digits.insert(digits.end(), fractions.begin(), fractions.end());
  for (const auto s : digits) bytes(in, s, {{'E', 'E'}, {'e', 'e'}}, exponent);
  const auto sign = in.add();
  bytes(in, exponent, {{'+', '+'}, {'-', '-'}}, sign);
  for (const auto from : {exponent, sign}) in.byte(from, '0', '9', power);
  add_digits(in, power, exponent_digits_max);
  return start;
}

// Any array of such values.
grammar_state add_array(grammar_builder& in, const json_rules& rules, grammar_state value) {
  const auto start = in.add(), after = in.add();
  const auto inside = open_json(in, rules, start, '[');
  in.byte(inside, ']', rules.end);
  in.call(inside, value, after);
  in.call(open_json(in, rules, after, ','), value, after);
  close_json(in, rules, after, ']');
  return start;
}

// Any object of such values.
grammar_state add_object(grammar_builder& in, const json_rules& rules, grammar_state value) {
  const auto start = in.add(), name = in.add();
  const auto inside = open_json(in, rules, start, '{');
  in.byte(inside, '}', rules.end);
  in.call(inside, rules.string, name);
  const auto after = add_json_value(in, in.spell(name, ":"), value);
  in.call(open_json(in, rules, after, ','), rules.string, name);
  close_json(in, rules, after, '}');
  return start;
}

grammar_state add_scalar(grammar_builder& in, const json_rules& rules) {
  const auto start = in.add();
  for (const auto text : {"true", "false", "null"}) in.end(in.spell(start, text));
  in.call(start, rules.string, rules.end);
  in.call(start, rules.number, rules.end);
  return start;
}

}  // namespace

grammar_state open_json(
    grammar_builder& in, const json_rules& rules, grammar_state from, char first) {
  const auto then = in.add(), after = in.add();
  in.byte(from, first, then);
  in.call(then, rules.blank, after);
  return after;
}

void close_json(grammar_builder& in, const json_rules& rules, grammar_state from, char last) {
  const auto after = in.add();
  in.call(from, rules.blank, after);
  in.byte(after, last, rules.end);
}

grammar_state add_json_value(grammar_builder& in, grammar_state from, grammar_state value) {
  const auto after = in.add();
  in.call(from, value, after);
  in.call(in.spell(from, " "), value, after);
  return after;
}

json_rules add_json_rules(grammar_builder& to) {
  json_rules made{};
  made.end = to.add();
  to.end(made.end);
  made.blank = add_blank(to);
  made.string = add_string(to, made.end);
  made.integer = add_number(to, true);
  made.number = add_number(to, false);
  made.any = add_scalar(to, made);
  for (std::size_t depth = 0; depth < json_any_depth_max; ++depth) {
    const auto inner = made.any;
    made.array = add_array(to, made, inner);
    made.object = add_object(to, made, inner);
    made.any = add_scalar(to, made);
    to.call(made.any, made.array, made.end);
    to.call(made.any, made.object, made.end);
  }
  to.share();
  return made;
}

}  // namespace dlls::model

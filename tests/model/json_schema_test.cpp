// Which texts a schema's grammar accepts, which schemas it refuses, and that both hold for schemas
// and texts that nobody thought of.
#include "model/json_schema.hpp"

#include <fmt/core.h>

#include <boost/json.hpp>
#include <catch2/catch.hpp>
#include <chrono>
#include <string>

#include "base/encoding.hpp"
#include "base/random.hpp"
#include "model/grammar_matcher.hpp"
#include "tests/support/json_schema_world.hpp"

namespace dlls::model {
namespace {
using base::errc;
namespace json = boost::json;

grammar_matcher matcher(std::string_view schema) {
  auto made = json_schema_grammar(schema);
  INFO(schema);
  REQUIRE(made);
  return grammar_matcher{std::make_shared<const grammar>(std::move(*made))};
}

bool accepts(grammar_matcher text, std::string_view bytes) {
  for (const char c : bytes)
    if (!text.push(static_cast<std::uint8_t>(c))) return false;
  return text.complete();
}

struct case_of {
  std::string_view schema;
  std::vector<std::string_view> good, bad;
};

void check(const std::vector<case_of>& all) {
  for (const auto& [schema, good, bad] : all) {
    const auto start = matcher(schema);
    for (const auto text : good) {
      INFO(schema << " takes " << text);
      CHECK(accepts(start, text));
      CHECK_NOTHROW(json::parse({text.data(), text.size()}));
    }
    for (const auto text : bad) {
      INFO(schema << " does not take " << text);
      CHECK_FALSE(accepts(start, text));
    }
  }
}

struct refusal {
  std::string_view schema;
  errc code;
  std::string_view says;
};

void check(const std::vector<refusal>& all) {
  for (const auto& [schema, code, says] : all) {
    INFO(schema.substr(0, 200));
    const auto made = json_schema_grammar(schema);
    REQUIRE_FALSE(made);
    CHECK(made.error().code == code);
    INFO(made.error().message);
    CHECK(made.error().message.find(says) != std::string::npos);
  }
}

}  // namespace

TEST_CASE("a schema's grammar takes the texts that satisfy it, and no others") {
  check(std::vector<case_of>{
      {R"({"type":"string"})",
       {R"("")", R"("a b")", "\"\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\"",
        R"("\n\"\\\/\u00e9\uD83d\uDe00")", R"("\ud7ff\uE000")", "\"\x7F\""},
       {"",
        "\"",
        "a",
        "'a'",
        "\"\n\"",
        R"("\x")",
        R"("\u12")",
        R"("\ud83d")",
        R"("\ud83dx")",
        R"("\ud83d\u0041")",
        R"("\ude00")",
        "\"\xC0\x80\"",
        "\"\xED\xA0\x80\"",
        "\"\xF4\x90\x80\x80\"",
        "\"\xC3\"",
        "\"\x80\"",
        R"("a"b)",
        R"("a" )",
        R"( "a")",
        "1"}},
      {R"({"type":"integer"})",
       {"0", "-0", "7", "-12", "123456789012345678"},
       {"", "-", "01", "1.0", "1e3", "+1", "1234567890123456789", "\"1\"", " 1"}},
      {R"({"type":"number"})",
       {"0", "-1", "0.5", "-10.25", "1e9", "1E+9", "2.5e-10",
        "123456789012345678.123456789012345678e99"},
       {".5", "1.", "1e", "1e+", "00", "1e100", "NaN", "Infinity", "0x1", "1.5.5"}},
      {R"({"type":"boolean"})", {"true", "false"}, {"True", "tru", "truee", "0", "null"}},
      {R"({"type":"null"})", {"null"}, {"nul", "", "0"}},
      {R"({"type":["string","null"]})", {"null", R"("null")"}, {"0", "nul", R"("a)"}},
      {R"({"enum":["a","ab",1,12,null,true,[1,{"x":0.5}],"\u00e9\n"]})",
       {R"("a")", R"("ab")", "1", "12", "null", "true", R"([1,{"x":0.5}])", "\"\xC3\xA9\\n\""},
       {R"("b")", R"("abc")", "2", "123", "[1]", R"("\u00e9\n")"}},
      {R"({"type":"string","enum":["a",1,null]})", {R"("a")"}, {"1", "null"}},
      {R"({"const":{"b":1,"a":[]}})", {R"({"b":1,"a":[]})"}, {R"({"a":[],"b":1})", "{}"}},
      {R"({"anyOf":[{"type":"integer"},{"type":"string"}]})", {"1", R"("1")"}, {"null", "1\""}},
  });
}

TEST_CASE("objects have their properties in the schema's order, and nothing else") {
  check(std::vector<case_of>{
      {R"({"type":"object","properties":{"b":{"type":"integer"},"a":{"type":"null"}},
           "required":["a","b"],"additionalProperties":false})",
       {R"({"b":1,"a":null})", R"({"b": 1, "a": null})", "{\n  \"b\": 1,\n  \"a\": null\n}",
        R"({ "b":1, "a":null })"},
       {R"({"a":null,"b":1})", R"({"b":1})", "{}", R"({"b":1,"a":null,"c":1})",
        R"({"b":1,"a":null,})", R"({"b":  1,"a":null})", R"({"b" :1,"a":null})",
        R"({"b":1 ,"a":null} )", R"({"b":1,"b":1,"a":null})", "{\n\n\"b\":1,\"a\":null}",
        R"({"\u0062":1,"a":null})"}},
      {R"({"properties":{"a":{"type":"integer"},"ab":{"type":"integer"},"c":{"type":"integer"}},
           "required":["ab"]})",
       {R"({"a":1,"ab":2,"c":3})", R"({"ab":2})", R"({"ab":2,"c":3})", R"({"a":1, "ab":2})"},
       {"{}", R"({"a":1})", R"({"c":3,"ab":2})", R"({"a":1,"c":3})", R"({,"ab":2})"}},
      {R"({"properties":{"a":{},"b":{}}})",
       {"{}", "{ }", R"({"a":1})", R"({"b":[{}]})", R"({"a":null,"b":"x"})"},
       {R"({"b":1,"a":1})", R"({"c":1})"}},
      {R"({"type":"object","additionalProperties":false})", {"{}"}, {R"({"a":1})"}},
      {R"({"properties":{"a\"/~\n\u00e9":{"type":"null"}},"required":["a\"/~\n\u00e9"]})",
       {"{\"a\\\"/~\\n\xC3\xA9\":null}"},
       {"{}"}},
  });
}

TEST_CASE("arrays count their items") {
  check(std::vector<case_of>{
      {R"({"type":"array","items":{"type":"integer"}})",
       {"[]", "[ ]", "[1]", "[1,2,3]", "[1, 2]", "[\n 1,\n 2\n]"},
       {"[,]", "[1,]", "[1 2]", "[1,,2]", "[null]", "["}},
      {R"({"items":{"type":"null"},"minItems":2,"maxItems":3})",
       {"[null,null]", "[null,null,null]"},
       {"[]", "[null]", "[null,null,null,null]"}},
      {R"({"type":"array","items":{"type":"null"},"minItems":2})",
       {"[null,null]", "[null,null,null,null,null]"},
       {"[]", "[null]"}},
      {R"({"type":"array","maxItems":1})", {"[]", "[[{}]]"}, {"[1,2]"}},
      {R"({"minItems":1})", {"[1]"}, {"[]", "1", "{}"}},
      {R"({"type":"array","maxItems":0})", {"[]"}, {"[1]"}},
      {R"({"type":"array","items":false})", {"[]"}, {"[1]"}},
  });
}

TEST_CASE("a reference leads into the schema, also around in circles") {
  check(std::vector<case_of>{
      {R"({"$defs":{"list":{"type":"object","properties":{
             "value":{"type":"integer"},
             "next":{"anyOf":[{"$ref":"#/$defs/list"},{"type":"null"}]}},
             "required":["value","next"],"additionalProperties":false}},
           "$ref":"#/$defs/list"})",
       {R"({"value":1,"next":null})", R"({"value":1,"next":{"value":2,"next":null}})"},
       {R"({"value":1,"next":{"value":2}})", R"({"value":1,"next":1})"}},
      {R"({"type":"array","items":{"$ref":"#"}})", {"[]", "[[],[[]]]"}, {"[1]", "[[]"}},
      {R"({"anyOf":[{"$ref":"#"},{"type":"null"}]})", {"null"}, {"1"}},
      {R"({"properties":{"a/b":{"$ref":"#/properties/~0"},"~":{"const":1}},"required":["a/b"]})",
       {},
       {R"({"a/b":2})"}},
      {R"({"properties":{"a/b":{"type":"null"},"c":{"$ref":"#/properties/a~1b"}}})",
       {R"({"c":null})"},
       {R"({"c":1})"}},
  });
}

TEST_CASE("what nothing satisfies is never begun") {
  const auto after = [](std::string_view schema, std::string_view bytes) {
    auto text = matcher(schema);
    for (const char c : bytes) REQUIRE(text.push(static_cast<std::uint8_t>(c)));
    return test::next_bytes(text);
  };
  const auto name = after(R"({"properties":{"a":false,"b":{}}})", "{\"");
  CHECK(name.count() == 1);
  CHECK(name['b']);
  const auto value = after(
      R"({"anyOf":[{"properties":{"a":{"$ref":"#/anyOf/0"}},"required":["a"]},{"type":"null"}]})",
      "");
  CHECK(value.count() == 1);
  CHECK(value['n']);
}

TEST_CASE("any object means any") {
  check(std::vector<case_of>{
      {any_json_object,
       {"{}", R"({"a":[1,-2.5e3,"x",true,false,null,{"b":{}}], "": {}})"},
       {"[]", "1", "{", R"({"a"})", R"({"a":1,})", R"({a:1})", R"({"a":1}x)"}},
      {"true", {"1", "[{}]", "null"}, {"", "nul"}},
  });
  const auto start = matcher(any_json_object);
  const auto nested = [](std::size_t n) {
    std::string text = "0";
    for (std::size_t i = 0; i < n; ++i) text = fmt::format(R"({{"a":{}}})", text);
    return text;
  };
  CHECK(accepts(start, nested(32)));
  CHECK_FALSE(accepts(start, nested(33)));
}

TEST_CASE("what is not supported is refused by its name and place") {
  check(std::vector<refusal>{
      {R"({"properties":{"a":{"type":"string","pattern":"x"}}})", errc::unsupported,
       "schema at #/properties/a: 'pattern' is not supported"},
      {R"({"$defs":{"a/b":{"format":"date"}},"items":{"$ref":"#/$defs/a~1b"}})", errc::unsupported,
       "schema at #/$defs/a~1b: 'format'"},
      {R"({"type":"object","additionalProperties":true})", errc::unsupported,
       "additionalProperties"},
      {R"({"type":"number","minimum":1})", errc::unsupported, "'minimum'"},
      {R"({"oneOf":[]})", errc::unsupported, "'oneOf'"},
      {R"({"somethingNew":1})", errc::unsupported, "'somethingNew'"},
      {R"({"anyOf":[{}],"type":"string"})", errc::unsupported, "'type' beside 'anyOf'"},
      {R"({"$ref":"#","type":"string"})", errc::unsupported, "'type' beside '$ref'"},
      {R"({"$ref":"other.json"})", errc::unsupported, "'$ref'"},
      {R"({"enum":[[]],"items":{}})", errc::unsupported, "'items' beside 'enum'"},
  });
}

TEST_CASE("what is no schema is refused with its place") {
  check(std::vector<refusal>{
      {"{", errc::invalid_argument, "no JSON"},
      {"[]", errc::invalid_argument, "schema at #: a schema is an object"},
      {R"({"items":1})", errc::invalid_argument, "schema at #/items: a schema is an object"},
      {R"({"type":"text"})", errc::invalid_argument, "'type'"},
      {R"({"type":[]})", errc::invalid_argument, "'type' is empty"},
      {R"({"type":"object","properties":[]})", errc::invalid_argument, "'properties'"},
      {R"({"properties":{"a":{}},"required":["b"]})", errc::invalid_argument, "'required'"},
      {R"({"type":"object","required":["b"]})", errc::invalid_argument, "'required'"},
      {R"({"const":1e999})", errc::invalid_argument, "too large"},
      {R"({"properties":{"a":{}},"required":"a"})", errc::invalid_argument, "'required'"},
      {R"({"anyOf":[]})", errc::invalid_argument, "'anyOf' is empty"},
      {R"({"anyOf":{}})", errc::invalid_argument, "'anyOf' must be an array"},
      {R"({"type":"array","minItems":-1})", errc::invalid_argument, "'minItems'"},
      {R"({"type":"array","minItems":"x"})", errc::invalid_argument, "'minItems'"},
      {R"({"type":"array","minItems":2,"maxItems":1})", errc::invalid_argument, "'maxItems'"},
      {R"({"type":"array","maxItems":1001})", errc::invalid_argument,
       "'maxItems' is more than 1000"},
      {R"({"$ref":"#/nowhere"})", errc::invalid_argument, "leads nowhere"},
      {"false", errc::invalid_argument, "no text satisfies it"},
      {R"({"enum":[]})", errc::invalid_argument, "no text satisfies it"},
      {R"({"type":"string","const":1})", errc::invalid_argument, "no text satisfies it"},
      {R"({"$ref":"#"})", errc::invalid_argument, "no text satisfies it"},
      {R"({"properties":{"a":{"$ref":"#"}},"required":["a"]})", errc::invalid_argument,
       "no text satisfies it"},
  });
}

TEST_CASE("a hostile schema costs little") {
  // Not operator+: GCC 12 sees overlaps that aren't there (GCC bug 105651).
  const auto join = [](const auto&... parts) {
    std::string text;
    ((text += parts), ...);
    return text;
  };
  const auto repeat = [](std::string_view what, int n, std::string_view between = ",") {
    std::string text;
    for (int i = 0; i < n; ++i) (text += i ? between : "") += fmt::format(fmt::runtime(what), i);
    return text;
  };
  std::string deep = "{}";
  for (int i = 0; i < 11; ++i) deep = join(R"({"items":)", deep, "}");
  // Each level reaches the next in two ways: 2^400 paths.
  std::string doubling = "{";
  for (int i = 0; i < 400; ++i)
    doubling += fmt::format(
        R"("d{}":{{"anyOf":[{{"items":{{"$ref":"#/$defs/d{}"}}}},{{"$ref":"#/$defs/d{}"}}]}},)", i,
        i + 1, i + 1);
  doubling = join(R"({"$defs":)", doubling, R"("d400":{"type":"null"}},"$ref":"#/$defs/d0"})");
  const auto began = std::chrono::steady_clock::now();
  check(std::vector<refusal>{
      {std::string(5000, '['), errc::invalid_argument, "no JSON"},
      {deep, errc::invalid_argument, "more than 10 levels"},
      {join(R"({"properties":{)", repeat(R"("p{}":{{}})", 5001), "}}"), errc::invalid_argument,
       "more than 5000 properties"},
      {join(R"({"properties":{)", repeat(R"("p{}":{{}})", 5000), "}}"), errc::invalid_argument,
       "states"},  // each may be left out: n * n / 2
      {join(R"({"enum":[)", repeat("{}", 1001), "]}"), errc::invalid_argument,
       "more than 1000 values"},
      {join(R"({"enum":[")", std::string(120'000, 'a'), "\"]}"), errc::invalid_argument, "bytes"},
      {join(R"({"anyOf":[)", repeat(R"({{"const":{}}})", 1001), "]}"), errc::invalid_argument,
       "more than 1000 alternatives"},
      {join(R"({"properties":{)", repeat(R"("p{}":{{"type":"array","minItems":1000}})", 100), "}}"),
       errc::invalid_argument, "states"},
  });
  // Places for people don't grow with the names.
  const std::string name(100'000, 'n');
  CHECK(json_schema_grammar(join(
      R"({"properties":{")", name, R"(":{"properties":{)", repeat(R"("p{}":{{}})", 100),
      R"(},"required":["p0"]}}})")));
  const auto long_keyword = json_schema_grammar(join(R"({")", name, R"(":1})"));
  REQUIRE_FALSE(long_keyword);
  CHECK(long_keyword.error().message.size() < 2000);
  auto text = matcher(doubling);
  for (int i = 0; i < 200; ++i) REQUIRE(text.push('['));
  CHECK(text.places().size() <= grammar_matcher::places_max);
  for (const char c : std::string_view{"null"}) REQUIRE(text.push(static_cast<std::uint8_t>(c)));
  // One of many that begin alike.
  auto many = matcher(join(
      R"({"anyOf":[)", repeat(R"({{"properties":{{"p":{{"const":{}}}}},"required":["p"]}})", 1000),
      "]}"));
  for (const char c : std::string_view{R"({"p":99)"})
    REQUIRE(many.push(static_cast<std::uint8_t>(c)));
  CHECK(many.places().size() < 100);
  const auto took = std::chrono::steady_clock::now() - began;
  CHECK(took < std::chrono::seconds{10});  // under a sanitizer
}

TEST_CASE("a matcher forgets what it cannot return to") {
  auto text = matcher(R"({"type":"array","items":{"properties":{"a":{"$ref":"#"}}}})");
  REQUIRE(text.push('['));
  for (int i = 0; i < 20'000; ++i) {
    for (const char c : std::string_view{R"({"a":[]},)"})
      REQUIRE(text.push(static_cast<std::uint8_t>(c)));
    text.commit();
    REQUIRE(text.calls() < 500);
  }
}

TEST_CASE("going back leaves a matcher as it was") {
  const auto seed = std::random_device{}();
  INFO("seed " << seed);
  base::random_source random(seed);
  constexpr std::string_view schema =
      R"({"properties":{"a":{"type":"array","items":{"$ref":"#"},"minItems":2},
          "b":{"type":"number"},"c":{"type":"string"}},"required":["b","c"]})";
  auto text = matcher(schema);
  const auto walked = test::random_text(text, random, 400);
  auto again = matcher(schema);
  for (const char c : walked.bytes) {
    const auto before = test::next_bytes(again);
    REQUIRE(before == test::next_bytes(again));  // itself pushes and pops 256 times
    REQUIRE(before[static_cast<std::uint8_t>(c)]);
    REQUIRE(again.push(static_cast<std::uint8_t>(c)));
    if (random.below(3) == 0) again.commit();
  }
  CHECK(again.complete() == walked.complete);
}

TEST_CASE("random walks through random schemas are JSON that satisfies them") {
  const auto seed = std::random_device{}();
  INFO("seed " << seed);
  base::random_source random(seed);
  int complete = 0, walks = 0;
  for (int i = 0; i < 600; ++i) {
    const auto schema = test::random_schema(random);
    INFO(json::serialize(schema));
    auto made = json_schema_grammar(json::serialize(schema));
    if (!made) {  // it may ask for what cannot be
      REQUIRE(made.error().message == "schema at #: no text satisfies it");
      continue;
    }
    const auto rules = std::make_shared<const grammar>(std::move(*made));
    for (int j = 0; j < 5; ++j, ++walks) {
      grammar_matcher text{rules};
      const auto walked = test::random_text(text, random, 20'000);
      INFO(walked.bytes);
      if (!walked.complete) continue;
      ++complete;
      json::parse_options options;
      options.max_depth = 10'000;
      boost::system::error_code wrong;
      const auto value = json::parse(walked.bytes, wrong, {}, options);
      REQUIRE_FALSE(wrong);
      REQUIRE(test::satisfies(value, schema, schema));
    }
  }
  CHECK(walks > 2000);
  CHECK(complete > walks * 9 / 10);
}

}  // namespace dlls::model

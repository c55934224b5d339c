// Grammars by hand: what a matcher sees of them.
#include "model/grammar.hpp"

#include <catch2/catch.hpp>

#include "model/grammar_matcher.hpp"
#include "tests/support/json_schema_world.hpp"

namespace dlls::model {
namespace {

grammar_matcher matcher(grammar_builder made, grammar_state start) {
  return grammar_matcher{std::make_shared<const grammar>(std::move(made).build(start).value())};
}

std::string next(grammar_matcher& text) {
  std::string bytes;
  const auto good = test::next_bytes(text);
  for (unsigned byte = 0; byte < 256; ++byte)
    if (good[byte]) bytes += static_cast<char>(byte);
  return bytes;
}

}  // namespace

TEST_CASE("a rule that may be empty returns to everybody who calls it, however late") {
  grammar_builder made{100};
  const auto empty = made.add(), start = made.add(), second = made.add(), third = made.add();
  made.end(empty);
  made.call(start, empty, second);
  made.call(second, empty, third);
  made.end(made.spell(third, "x"));
  auto text = matcher(std::move(made), start);
  CHECK(next(text) == "x");
}

TEST_CASE("a rule may call itself first, last and in the middle") {
  grammar_builder made{100};
  const auto sum = made.add(), after = made.add(), end = made.add();  // sum: sum '+' '1' | '1'
  made.end(end);
  made.call(sum, sum, after);
  made.byte(made.spell(after, "+"), '1', end);
  made.byte(sum, '1', end);
  auto text = matcher(std::move(made), sum);
  for (int i = 0; i < 1000; ++i) {
    REQUIRE(text.push('1'));
    REQUIRE(text.complete());
    REQUIRE(next(text) == "+");
    REQUIRE(text.push('+'));
    REQUIRE_FALSE(text.complete());
    text.commit();
    REQUIRE(text.calls() < 200);
  }
}

TEST_CASE("what leads to no end is never offered") {
  grammar_builder made{100};
  const auto start = made.add(), dead = made.add(), endless = made.add(), after = made.add();
  made.byte(start, 'd', dead);
  made.byte(endless, 'e', endless);
  made.end(after);
  made.call(start, endless, after);
  const auto fine = made.add();
  made.end(made.spell(fine, "x"));
  made.call(start, fine, dead);
  made.end(made.spell(start, "good"));
  auto text = matcher(std::move(made), start);
  CHECK(next(text) == "g");
  grammar_builder none{100};
  const auto alone = none.add();
  none.byte(alone, 'x', alone);
  CHECK(std::move(none).build(alone).error().code == base::errc::invalid_argument);
}

TEST_CASE("a grammar has no more states than it may") {
  grammar_builder made{2};
  made.add();
  made.add();
  CHECK_THROWS_AS(made.add(), base::failure);
}

}  // namespace dlls::model

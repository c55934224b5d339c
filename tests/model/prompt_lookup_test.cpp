#include "model/prompt_lookup.hpp"

#include <catch2/catch.hpp>
#include <vector>

namespace dlls::model {
namespace {

std::vector<token_id> guessed(
    prompt_lookup& lookup, const std::vector<token_id>& tokens, int most) {
  const auto made = lookup.guess(tokens, static_cast<std::size_t>(most));
  return {made.begin(), made.end()};
}

using ids = std::vector<token_id>;

TEST_CASE("what followed the same three tokens is guessed, the latest time first") {
  prompt_lookup lookup;
  ids text{1, 2, 3, 4, 5, 6, 1, 2, 3};
  CHECK(guessed(lookup, text, 4) == ids{4, 5, 6, 1});
  CHECK(guessed(lookup, text, 1) == ids{4});
  CHECK(guessed(lookup, text, 0).empty());
  text.insert(text.end(), {7, 8, 1, 2, 3});
  CHECK(guessed(lookup, text, 2) == ids{7, 8});
  text.push_back(9);
  CHECK(guessed(lookup, text, 2).empty());
}

TEST_CASE("a guess ends where the text does, and a repetition is found in itself") {
  prompt_lookup lookup;
  const ids text{5, 5, 5, 5, 5};
  CHECK(guessed(lookup, text, 8) == ids{5});
  prompt_lookup fresh;
  CHECK(guessed(fresh, {1, 2, 3}, 8).empty());
  CHECK(guessed(fresh, {}, 8).empty());
}

TEST_CASE("wrong guesses end the guessing for a while, and it tries again") {
  prompt_lookup lookup;
  const ids text{1, 2, 3, 4, 1, 2, 3};
  int wrong = 0;
  while (!guessed(lookup, text, 1).empty() && wrong < 100) {
    lookup.learn(1, 0);
    ++wrong;
  }
  CHECK(wrong > 1);
  CHECK(wrong < 20);
  int paused = 1;
  while (guessed(lookup, text, 1).empty() && paused < 1000) ++paused;
  CHECK(paused > 10);
  CHECK(paused < 1000);
}

}  // namespace
}  // namespace dlls::model

#include "model/stop_watch.hpp"

#include <catch2/catch.hpp>

#include "base/random.hpp"

namespace dlls::model {

TEST_CASE("text before a stop string is shown, and nothing of it or after it") {
  stop_watch watch{{"END"}};
  CHECK(watch.add("one EN") == "one ");
  CHECK(watch.add("D two").empty());
  CHECK(watch.stopped());
  CHECK(watch.add("more").empty());
  CHECK(watch.finish().empty());
}

TEST_CASE("what might have become a stop string is shown when it doesn't") {
  stop_watch watch{{"END", "\n\n"}};
  CHECK(watch.add("a\n") == "a");
  CHECK(watch.add("bE") == "\nb");
  CHECK(watch.add("E") == "E");
  CHECK(watch.add("N").empty());
  CHECK(watch.finish() == "EN");
  CHECK_FALSE(watch.stopped());
}

TEST_CASE("without stop strings everything passes at once") {
  stop_watch watch{{}};
  CHECK(watch.add("abc") == "abc");
  CHECK(watch.finish().empty());
}

TEST_CASE("the outcome does not depend on how the text was cut") {
  const auto seed = Catch::rngSeed();
  INFO("replay with --rng-seed " << seed);
  base::random_source random{seed};
  auto word = [&](std::uint64_t length) {
    std::string made;
    while (made.size() < length) made += static_cast<char>('a' + random.below(2));
    return made;
  };
  for (int round = 0; round < 3000; ++round) {
    std::vector<std::string> stops;
    for (auto n = random.below(3); n > 0; --n) stops.push_back(word(1 + random.below(5)));
    const auto text = word(random.below(16));
    stop_watch whole{stops}, pieces{stops};
    auto expected = whole.add(text);
    expected += whole.finish();
    std::string shown;
    for (std::size_t at = 0; at < text.size();) {
      const auto length = 1 + random.below(4);
      shown += pieces.add(std::string_view{text}.substr(at, length));
      at += length;
      CHECK(expected.starts_with(shown));  // never takes anything back
    }
    shown += pieces.finish();
    CHECK(shown == expected);
    CHECK(whole.stopped() == pieces.stopped());
    for (const auto& s : stops) CHECK(shown.find(s) == std::string::npos);
  }
}

}  // namespace dlls::model

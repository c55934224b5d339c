#include "model/detokenizer.hpp"

#include <catch2/catch.hpp>

#include "base/encoding.hpp"
#include "base/random.hpp"
#include "tests/support/random_text.hpp"
#include "tests/support/temp_folder.hpp"
#include "tests/support/tiny_model.hpp"

namespace dlls::model {
namespace {
std::shared_ptr<const tokenizer> tiny() {
  test::temp_folder folder;
  REQUIRE(test::write_tiny_model(folder / "m.gguf"));
  return tokenizer::from(*gguf_file::open(folder / "m.gguf").value()).value();
}
// All bytes through take_complete_utf8 in one go, then the end.
std::string repaired(std::string bytes) {
  auto text = take_complete_utf8(bytes);
  return text + (bytes.empty() ? "" : "\uFFFD");
}
}  // namespace

TEST_CASE("a stream of tokens is the text, and every piece of it whole characters") {
  const auto seed = Catch::rngSeed();
  INFO("replay with --rng-seed " << seed);
  base::random_source random{seed};
  const auto vocabulary = tiny();
  detokenizer stream{vocabulary};
  for (int round = 0; round < 300; ++round) {
    const auto text = test::random_utf8(random, 40);
    std::string shown;
    for (const auto id : vocabulary->encode(text, false)) {
      const auto piece = stream.add(id);
      CHECK(base::is_utf8(piece));
      shown += piece;
    }
    CHECK(stream.finish().empty());
    CHECK(shown == text);
  }
}

TEST_CASE("a character that spans tokens is shown when it is whole") {
  const auto vocabulary = tiny();
  const auto ids = vocabulary->encode("\U0001F600", false);
  REQUIRE(ids.size() == 4);
  detokenizer stream{vocabulary};
  CHECK(stream.add(ids[0]).empty());
  CHECK(stream.add(ids[1]).empty());
  CHECK(stream.add(ids[2]).empty());
  CHECK(stream.add(ids[3]) == "\U0001F600");
  CHECK(stream.add(2).empty());  // special tokens are no text
  CHECK(stream.finish().empty());
  stream.add(ids[0]);
  CHECK(stream.finish() == "\uFFFD");
  CHECK(stream.add(vocabulary->encode("x", false).front()) == "x");
}

TEST_CASE("bytes that can't become a character turn into one replacement for each maximal part") {
  CHECK(repaired("ok") == "ok");
  CHECK(repaired("a\xFFz") == "a\uFFFDz");
  CHECK(repaired("\x80") == "\uFFFD");
  CHECK(repaired("\xC0\xAF") == "\uFFFD\uFFFD");                      // overlong
  CHECK(repaired("\xED\xA0\x80") == "\uFFFD\uFFFD\uFFFD");            // surrogate
  CHECK(repaired("\xF4\x90\x80\x80") == "\uFFFD\uFFFD\uFFFD\uFFFD");  // above U+10FFFF
  CHECK(repaired("\xE2\x82z") == "\uFFFDz");                          // cut short
  CHECK(repaired("\xF0\x9F\x98") == "\uFFFD");                        // cut at the end
  // The example of the Unicode standard, table 3-8.
  CHECK(
      repaired("\x61\xF1\x80\x80\xE1\x80\xC2\x62\x80\x63\x80\xBF\x64") ==
      "a\uFFFD\uFFFD\uFFFDb\uFFFDc\uFFFD\uFFFDd");
}

TEST_CASE("whatever the bytes and however they are cut, the text is the same well-formed UTF-8") {
  const auto seed = Catch::rngSeed();
  INFO("replay with --rng-seed " << seed);
  base::random_source random{seed};
  for (int round = 0; round < 2000; ++round) {
    std::string bytes(random.below(24), '\0');
    static constexpr unsigned char leads[] = {0x41, 0x80, 0xBF, 0xC3, 0xE0, 0xE2, 0xED, 0xF0, 0xF4};
    for (auto& b : bytes) b = static_cast<char>(leads[random.below(sizeof leads)]);
    std::string shown, pending;
    for (const char b : bytes) {
      pending += b;
      shown += take_complete_utf8(pending);
      CHECK(pending.size() <= 3);
    }
    if (!pending.empty()) shown += "\uFFFD";
    CHECK(base::is_utf8(shown));
    CHECK(shown == repaired(bytes));
  }
}

}  // namespace dlls::model

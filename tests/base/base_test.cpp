#include <catch2/catch.hpp>
#include <filesystem>

#include "base/clock.hpp"
#include "base/encoding.hpp"
#include "base/error.hpp"
#include "base/file.hpp"
#include "base/random.hpp"
#include "base/sha256.hpp"

using namespace dlls::base;
namespace fs = std::filesystem;

TEST_CASE("an error carries its code, its sentence and the way out") {
  error e{errc::not_found, "no model 'x'", "list them with `dlls models`"};
  CHECK(e.text() == "not_found: no model 'x' (list them with `dlls models`)");
  result<int> r = e;
  CHECK_FALSE(r.has_value());
  CHECK_THROWS_AS(r.value(), failure);
}

TEST_CASE("SHA-256 and HMAC agree with the published vectors") {
  // FIPS 180-4 examples; RFC 4231, test case 2.
  CHECK(sha256_hex("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(sha256_hex("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(
      to_hex(hmac_sha256("Jefe", "what do ya want for nothing?")) ==
      "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
}

TEST_CASE("base64 and hexadecimal return what they were given and refuse the rest") {
  random_source random{42};
  for (std::size_t size = 0; size < 70; ++size) {
    std::vector<std::byte> bytes(size);
    for (auto& b : bytes) b = static_cast<std::byte>(random());
    CHECK(from_base64(to_base64(bytes)).value() == bytes);
    CHECK(from_hex(to_hex(bytes)).value() == bytes);
  }
  for (const char* bad : {"a", "ab=c", "ab!=", "====", "abcd="}) CHECK_FALSE(from_base64(bad));
  for (const char* bad : {"a", "0g"}) CHECK_FALSE(from_hex(bad));
}

TEST_CASE("UTF-8 is judged by the Unicode table") {
  for (const char* good : {"", "plain", "\xED\x95\x9C\xEA\xB8\x80", "\xF0\x9F\x98\x80"})
    CHECK(is_utf8(good));
  for (const char* bad : {"\x80", "\xC0\x80", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\xE2\x82"})
    CHECK_FALSE(is_utf8(bad));
}

TEST_CASE("the well-formed beginning of a text ends before what is broken or unfinished") {
  CHECK(utf8_prefix("") == 0);
  CHECK(utf8_prefix("ab\xC3\xA4") == 4);
  CHECK(utf8_prefix("ab\xC3") == 2);
  CHECK(utf8_prefix("ab\xF0\x9F\x98") == 2);
  CHECK(utf8_prefix("a\x80z") == 1);
}

TEST_CASE("a clipped text has no half character, no NUL and no malformed byte") {
  CHECK(clip_utf8("plain", 64) == "plain");
  CHECK(clip_utf8("plain", 3) == "pla");
  CHECK(clip_utf8("plain", 0).empty());
  CHECK(clip_utf8("a\xC3\xA4z", 2) == "a");
  CHECK(clip_utf8("a\xC3\xA4z", 3) == "a\xC3\xA4");
  CHECK(clip_utf8({"a\0b", 3}, 64) == "ab");
  CHECK(clip_utf8("a\xFFz\xC3", 64) == "a\xEF\xBF\xBDz\xEF\xBF\xBD");
  CHECK(clip_utf8("\xED\xA0\x80", 6) == "\xEF\xBF\xBD\xEF\xBF\xBD");
  const std::string mixed = "\xED\x95\x9C\xF0\x9F\x98\x80\xC3\xA4 \x80 end";
  for (std::size_t most = 0; most < 24; ++most) {
    const auto got = clip_utf8(mixed, most);
    CHECK(got.size() <= most);
    CHECK(is_utf8(got));
  }
}

TEST_CASE("a durable write replaces the whole file or nothing") {
  const auto folder = fs::temp_directory_path() / random_id("dlls-test-");
  REQUIRE(make_folder(folder));
  const auto path = folder / "state";
  REQUIRE(write_file_durably(path, "old"));
  REQUIRE(write_file_durably(path, "new content", 0600));
  CHECK(read_file(path).value() == "new content");
  CHECK(read_file(path, 3).error().code == errc::resource_exhausted);
  CHECK(read_file(folder / "none").error().code == errc::not_found);
  CHECK(write_file_durably(folder / "no" / "such", "x").error().code == errc::not_found);
  CHECK(std::distance(fs::directory_iterator(folder), fs::directory_iterator{}) == 1);
  fs::remove_all(folder);
}

TEST_CASE("random ids are distinct and of the promised shape") {
  const auto a = random_id("job-"), b = random_id("job-");
  CHECK(a != b);
  CHECK(a.size() == 30);
  CHECK(a.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-") == a.npos);
}

TEST_CASE("a manual clock moves only when told, and its wall can jump alone") {
  manual_clock clock;
  const auto steady = clock.steady(), wall = clock.wall();
  clock.advance(milliseconds{250});
  clock.jump_wall(milliseconds{-1000});
  CHECK(clock.steady() - steady == milliseconds{250});
  CHECK(clock.wall() - wall == milliseconds{-750});
}

#include "actors/dataset_check.hpp"

#include <sys/resource.h>

#include <catch2/catch.hpp>
#include <filesystem>

#include "base/file.hpp"
#include "tests/support/catch_result.hpp"
#include "tests/support/temp_folder.hpp"

using namespace dlls;
using namespace dlls::actors;
using base::errc;

namespace {

const std::string good =
    R"({"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]})";

base::result<> check_chat(const std::string& text) {
  test::temp_folder folder;
  REQUIRE(base::write_file_durably(folder / "data", text));
  return check_chat_jsonl(folder / "data");
}

}  // namespace

TEST_CASE("conversations pass, with blank lines, either line end and unused members") {
  CHECK(check_chat(good));
  CHECK(check_chat(good + "\n"));
  CHECK(check_chat("\n" + good + "\r\n \t\n" + good));
  CHECK(check_chat(
      R"({"messages": [{"role": "system", "content": ""}, {"role": "developer", "content": "d"}, )"
      R"({"role": "assistant", "content": "x", "weight": 0}, )"
      R"({"role": "assistant", "content": "y", "weight": 1}], "tools": []})"));
}

TEST_CASE("the first broken line of a training file is named by its number, from 1") {
  const std::vector<std::pair<std::string, std::string>> broken{
      {"{", "JSON"},
      {"[]", "messages"},
      {"{}", "messages"},
      {R"({"messages": []})", "messages"},
      {R"({"messages": [{"role": "user"}]})", "content"},
      {R"({"messages": [{"content": "x"}]})", "role"},
      {R"({"messages": [{"role": "robot", "content": "x"}]})", "robot"},
      {R"({"messages": [{"role": "user", "content": "x"}]})", "assistant"},
      {R"({"messages": [{"role": "assistant", "content": ""}]})", "assistant"},
      {R"({"messages": [{"role": "assistant", "content": "x", "weight": 0}]})", "assistant"},
      {R"({"messages": [{"role": "assistant", "content": "x", "weight": 2}]})", "weight"},
      {R"({"messages": [{"role": "assistant", "content": "x", "weight": null}]})", "weight"},
      {R"({"messages": [{"role": "assistant", "content": "x", "weight": true}]})", "weight"},
      {R"({"messages": [["role"], {"role": "assistant", "content": "x"}]})", "role"},
      {"\xc3\x28", "UTF-8"},
      {std::string((1u << 20) + 1, ' '), "longer"}};
  for (const auto& [line, why] : broken) {
    CAPTURE(line.substr(0, 80));
    for (const int before : {0, 1, 41}) {
      std::string text;
      for (int i = 0; i < before; ++i) text += i % 7 == 3 ? "\n" : good + "\n";
      const auto got = check_chat(text + line + "\n" + good + "\n{\n");
      REQUIRE_FALSE(got);
      CHECK(got.error().code == errc::invalid_argument);
      CHECK_THAT(
          got.error().message,
          Catch::Contains("line " + std::to_string(before + 1) + ":") && Catch::Contains(why));
    }
  }
  CHECK(check_chat("").error().code == errc::invalid_argument);
  CHECK(check_chat(" \n\n").error().code == errc::invalid_argument);
  CHECK(check_chat_jsonl("/nonexistent/file").error().code == errc::not_found);
}

TEST_CASE("plain text passes when it is UTF-8 and there is some") {
  test::temp_folder folder;
  const auto path = folder / "text";
  auto check = [&](const std::string& text) {
    REQUIRE(base::write_file_durably(path, text));
    return check_text(path);
  };
  CHECK(check("once upon a time\nä"));
  CHECK(check("").error().code == errc::invalid_argument);
  CHECK(check("\n\n").error().code == errc::invalid_argument);
  CHECK_THAT(check("a\nb\n\xff\n").error().message, Catch::Contains("line 3:"));
}

namespace {

std::int64_t peak_kib() {
  rusage used{};
  getrusage(RUSAGE_SELF, &used);
  return used.ru_maxrss;
}

}  // namespace

TEST_CASE("a line at the limit passes whatever piece it begins in, and one byte more does not") {
  const auto padded = [](std::size_t bytes) {
    return good + std::string(bytes - good.size(), ' ');
  };
  for (const std::size_t before : {0u, 1u, 65'535u, 65'536u, 65'537u}) {
    const auto blanks = before ? std::string(before - 1, ' ') + "\n" : std::string{};
    CAPTURE(before);
    CHECK(check_chat(blanks + padded(training_line_bytes_max)));
    CHECK(check_chat(blanks + padded(training_line_bytes_max) + "\n" + good));
    const auto got = check_chat(blanks + padded(training_line_bytes_max + 1));
    REQUIRE_FALSE(got);
    CHECK_THAT(got.error().message, Catch::Contains(before ? "line 2:" : "line 1:"));
  }
}

TEST_CASE("a character may lie across two pieces of a text, and half a one may not end it") {
  test::temp_folder folder;
  const auto path = folder / "text";
  for (const std::size_t before : {65'533u, 65'534u, 65'535u, 65'536u}) {
    CAPTURE(before);
    const auto text = std::string(before - 1, 'a') + "\n\xF0\x9F\x98\x80";
    REQUIRE(base::write_file_durably(path, text + "\n"));
    CHECK(check_text(path));
    REQUIRE(base::write_file_durably(path, text.substr(0, text.size() - 1)));
    CHECK_THAT(check_text(path).error().message, Catch::Contains("line 2:"));
    REQUIRE(base::write_file_durably(path, text.substr(0, text.size() - 1) + std::string(9, 'a')));
    CHECK_THAT(check_text(path).error().message, Catch::Contains("line 2:"));
  }
}

TEST_CASE("an upload without a line end costs no more memory than a line") {
  test::temp_folder folder;
  const auto path = folder / "zeros";  // sparse
  REQUIRE(base::write_file_durably(path, "x"));
  std::filesystem::resize_file(path, 256u << 20);
  const auto before = peak_kib();
  CHECK_THAT(check_chat_jsonl(path).error().message, Catch::Contains("line 1:"));
  CHECK(check_text(path));
  CHECK(peak_kib() - before < 32 << 10);
}

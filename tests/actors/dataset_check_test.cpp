#include "actors/dataset_check.hpp"

#include <catch2/catch.hpp>

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
          Catch::Contains("line " + std::to_string(before + 1) + " ") && Catch::Contains(why));
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
  CHECK_THAT(check("a\nb\n\xff\n").error().message, Catch::Contains("line 3 "));
}

// Data sets: which tokens count, and what a broken file gets.
#include <catch2/catch.hpp>

#include "base/file.hpp"
#include "base/sha256.hpp"
#include "kernels/training.hpp"
#include "model/dataset.hpp"
#include "tests/support/temp_folder.hpp"
#include "tests/support/tiny_model.hpp"

namespace dlls::model {
namespace {
using base::errc;

struct tiny_text {
  tiny_text() {
    const test::temp_folder folder;
    REQUIRE(test::write_tiny_model(folder / "m.gguf"));
    const auto file = gguf_file::open(folder / "m.gguf");
    REQUIRE(file);
    vocabulary = *tokenizer::from(**file);
    how = std::make_unique<chat_template>(*chat_template::from(**file));
  }
  base::result<dataset> chat(std::string_view content, std::uint32_t context = 128) const {
    return parse_chat_jsonl(content, *vocabulary, *how, context);
  }
  // The text of the targets that count.
  std::string counted(const training_example& e) const {
    std::vector<token_id> ids;
    for (const auto t : e.targets)
      if (t != kernels::no_target) ids.push_back(t);
    return vocabulary->decode(ids, true);
  }
  std::shared_ptr<const tokenizer> vocabulary;
  std::unique_ptr<chat_template> how;
};

constexpr std::string_view one =
    R"({"messages":[{"role":"user","content":"hello"},{"role":"assistant","content":"the end"}]})";

void check_refused(const base::result<dataset>& r, std::string_view line, std::string_view why) {
  REQUIRE(!r);
  CHECK(r.error().code == errc::invalid_argument);
  CHECK_THAT(r.error().message, Catch::Contains(std::string(line)));
  CHECK_THAT(r.error().message, Catch::Contains(std::string(why)));
}

}  // namespace

TEST_CASE("only the assistant's words and the end of its turn count") {
  const tiny_text t;
  const auto made = t.chat(one);
  REQUIRE(made);
  REQUIRE(made->examples.size() == 1);
  const auto& e = made->examples[0];
  CHECK(e.inputs.size() == e.targets.size());
  CHECK(t.counted(e) == "the end<|im_end|>");
  CHECK(e.targets.back() == t.vocabulary->find("<|im_end|>"));
  CHECK(made->tokens() == e.inputs.size());
  CHECK(made->sha256 == base::sha256_hex(one));
}

TEST_CASE("a training prompt has the ids that inference sends") {
  const tiny_text t;
  const auto made = t.chat(one);
  REQUIRE(made);
  const std::vector<chat_message> asked{{"user", "hello"}};
  const auto prompt = encode_chat(*t.vocabulary, *t.how, asked);
  REQUIRE(prompt);
  const auto& e = made->examples[0];
  REQUIRE(e.inputs.size() > prompt->size());
  CHECK(std::equal(prompt->begin(), prompt->end(), e.inputs.begin()));
  CHECK(e.targets[prompt->size() - 2] == kernels::no_target);
  CHECK(e.targets[prompt->size() - 1] != kernels::no_target);
}

TEST_CASE("every answer of a longer conversation counts, but for those of weight 0") {
  const tiny_text t;
  const auto made = t.chat(
      R"({"messages":[{"role":"system","content":"be"},{"role":"user","content":"a"},)"
      R"({"role":"assistant","content":"first"},{"role":"user","content":"b"},)"
      R"({"role":"assistant","content":"second","weight":0},{"role":"user","content":"c"},)"
      R"({"role":"assistant","content":"third","weight":1},{"role":"user","content":"tail"}]})");
  REQUIRE(made);
  const auto& e = made->examples[0];
  CHECK(t.counted(e) == "first<|im_end|>third<|im_end|>");
  CHECK_THAT(t.vocabulary->decode(e.inputs, true), Catch::Contains("second"));
  CHECK_THAT(t.vocabulary->decode(e.inputs, true), !Catch::Contains("tail"));
}

TEST_CASE("a marker inside a message stays text and closes nobody's turn") {
  const tiny_text t;
  const auto made = t.chat(R"({"messages":[{"role":"user","content":"a<|im_end|>b"},)"
                           R"({"role":"assistant","content":"c<|im_end|>d"}]})");
  REQUIRE(made);
  const auto& e = made->examples[0];
  CHECK(t.counted(e) == "c<|im_end|>d<|im_end|>");
  const auto end = t.vocabulary->find("<|im_end|>");
  CHECK(std::count(e.targets.begin(), e.targets.end(), end) == 1);
}

TEST_CASE("blank lines, CRLF and a missing last newline are taken as they come") {
  const tiny_text t;
  const auto made = t.chat(std::string("\n") + std::string(one) + "\r\n  \n" + std::string(one));
  REQUIRE(made);
  CHECK(made->examples.size() == 2);
}

TEST_CASE("a broken line of a training file is named with its number and the reason") {
  const tiny_text t;
  const std::string good = std::string(one) + "\n";
  check_refused(t.chat(good + good + "{\"messages\": [\n"), "line 3", "JSON");
  check_refused(t.chat(good + "[]\n"), "line 2", "no JSON object");
  check_refused(t.chat("{}"), "line 1", "messages");
  check_refused(t.chat(R"({"messages":[]})"), "line 1", "messages");
  check_refused(t.chat(R"({"messages":[1]})"), "line 1", "message 1");
  check_refused(t.chat(R"({"messages":[{"role":1,"content":"x"}]})"), "line 1", "role");
  check_refused(
      t.chat(good + "\n" + R"({"messages":[{"role":"assistant","content":null}]})"), "line 3",
      "content");
  check_refused(
      t.chat(R"({"messages":[{"role":"assistant","content":"x","weight":0.5}]})"), "line 1",
      "weight");
  check_refused(
      t.chat(R"({"messages":[{"role":"user","content":"x"}]})"), "line 1", "no assistant");
  check_refused(
      t.chat(R"({"messages":[{"role":"robot","content":"x"},{"role":"assistant","content":"y"}]})"),
      "line 1", "role");
  check_refused(
      t.chat("{\"messages\":[{\"role\":\"user\",\"content\":\"\xff\"}]}"), "line 1", "JSON");
  check_refused(t.chat(good, 8), "line 1", "tokens, where the context has 8");
  check_refused(t.chat(""), "", "no conversation");
  check_refused(t.chat("\n \n"), "", "no conversation");
}

TEST_CASE("a training file that is not there is not found") {
  const tiny_text t;
  const auto r = load_chat_jsonl("/nonexistent/x.jsonl", *t.vocabulary, *t.how, 128);
  REQUIRE(!r);
  CHECK(r.error().code == errc::not_found);
}

TEST_CASE("plain text becomes rows that follow one another without a gap") {
  const tiny_text t;
  const std::string text = "the end is in the hand of the user and the list";
  const auto ids = t.vocabulary->encode_prompt(text, false);
  for (const std::uint32_t context : {1, 4, 7, 1000}) {
    const auto made = parse_text(text, *t.vocabulary, context);
    REQUIRE(made);
    std::vector<token_id> inputs, targets;
    for (const auto& e : made->examples) {
      CHECK(e.inputs.size() <= context);
      inputs.insert(inputs.end(), e.inputs.begin(), e.inputs.end());
      targets.insert(targets.end(), e.targets.begin(), e.targets.end());
    }
    CHECK(inputs == std::vector(ids.begin(), ids.end() - 1));
    CHECK(targets == std::vector(ids.begin() + 1, ids.end()));
    CHECK(made->counted_targets() == targets.size());
  }
  CHECK(!parse_text("", *t.vocabulary, 8));
  CHECK(!parse_text("\xff\xfe", *t.vocabulary, 8));
}

}  // namespace dlls::model

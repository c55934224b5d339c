// Token ids against llama.cpp's: tests/parity/reference/inference/README.md says how they were
// made.
#include "model/tokenizer.hpp"

#include <boost/json.hpp>
#include <catch2/catch.hpp>

#include "base/file.hpp"
#include "model/chat_template.hpp"
#include "model/gguf_writer.hpp"
#include "tests/support/reference.hpp"
#include "tests/support/temp_folder.hpp"

namespace dlls::model {
namespace {
namespace json = boost::json;

json::value read_reference(std::string_view name) {
  return json::parse(base::read_file(test::reference_folder() / "inference" / name).value());
}

std::string text_of(const json::value& v) { return std::string{v.as_string()}; }
std::vector<token_id> ids_of(const json::value& v) {
  return json::value_to<std::vector<token_id>>(v);
}
}  // namespace

TEST_CASE("token ids equal llama.cpp's, with and without special tokens, and decode to the text") {
  const auto path = test::test_model();
  if (!path) return;
  const auto vocabulary = tokenizer::from(*gguf_file::open(*path).value()).value();
  const auto reference = read_reference("tokenize.json");
  for (const auto& entry : reference.as_array()) {
    const auto text = text_of(entry.at("text"));
    CAPTURE(text);
    const auto plain = vocabulary->encode(text, false);
    CHECK(plain == ids_of(entry.at("ids_plain")));
    CHECK(vocabulary->encode(text, true) == ids_of(entry.at("ids_parse_special")));
    CHECK((vocabulary->decode(plain) == text) == entry.at("roundtrip_plain").as_bool());
  }
}

TEST_CASE("the other pre-tokenizers cut words as llama.cpp does") {
  const auto path = test::test_model();
  if (!path) return;
  const auto file = gguf_file::open(*path).value();
  test::temp_folder folder;
  const auto reference = read_reference("tokenize_patterns.json");
  for (const auto& [pattern, entries] : reference.as_object()) {
    gguf_writer renamed;
    renamed.copy_metadata(*file);
    renamed.set_string("tokenizer.ggml.pre", std::string_view{pattern});
    REQUIRE(renamed.write(folder / "v.gguf"));
    const auto vocabulary = tokenizer::from(*gguf_file::open(folder / "v.gguf").value()).value();
    for (const auto& entry : entries.as_array()) {
      const auto text = text_of(entry.at("text"));
      CAPTURE(pattern, text);
      CHECK(vocabulary->encode(text, false) == ids_of(entry.at("ids")));
    }
  }
}

TEST_CASE("chat prompts are rendered and encoded as llama.cpp does it") {
  const auto path = test::test_model();
  if (!path) return;
  const auto file = gguf_file::open(*path).value();
  const auto vocabulary = tokenizer::from(*file).value();
  const auto how = chat_template::from(*file).value();
  const auto reference = read_reference("greedy.json");
  for (const auto& entry : reference.at("chat").as_array()) {
    std::vector<chat_message> messages;
    for (const auto& m : entry.at("messages").as_array())
      messages.emplace_back(text_of(m.at("role")), text_of(m.at("content")));
    CHECK(how.render(messages, true).value() == text_of(entry.at("rendered")));
    CHECK(encode_chat(*vocabulary, how, messages).value() == ids_of(entry.at("prompt_ids")));
  }
}

}  // namespace dlls::model

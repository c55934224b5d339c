// Token ids against llama.cpp's, with vocabularies of every kind (make_vocabularies.py).
#include <boost/json.hpp>
#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "base/file.hpp"
#include "model/gguf_writer.hpp"
#include "model/tokenizer.hpp"
#include "tests/support/reference.hpp"
#include "tests/support/temp_folder.hpp"

namespace dlls::model {
namespace {
namespace json = boost::json;
using ids = std::vector<token_id>;

std::filesystem::path folder() { return test::tree_reference_folder() / "vocabularies"; }

json::value read(const char* name) {
  const auto text = base::read_file(folder() / name);
  REQUIRE(text);
  return json::parse(*text);
}

void check_ids(const tokenizer& vocabulary, const json::value& texts, const json::value& expected) {
  const auto& all = texts.as_array();
  for (std::size_t i = 0; i < all.size(); ++i) {
    const std::string text{all[i].as_string()};
    CAPTURE(i, text);
    CHECK(vocabulary.encode(text, false) == json::value_to<ids>(expected.at(i)));
  }
}

std::shared_ptr<const tokenizer> changed(
    const char* name, const std::function<void(gguf_writer&)>& change) {
  const auto file = gguf_file::open(folder() / name);
  REQUIRE(file);
  const test::temp_folder place;
  gguf_writer out;
  out.copy_metadata(**file);
  change(out);
  REQUIRE(out.write(place / "v.gguf"));
  return tokenizer::from(*gguf_file::open(place / "v.gguf").value()).value();
}
}  // namespace

TEST_CASE("byte-level BPE gives llama.cpp's ids under every pre-tokenizer") {
  const auto reference = read("small.json");
  for (const auto& [pattern, expected] : reference.at("bpe").as_object()) {
    CAPTURE(std::string{pattern});
    const auto vocabulary = changed("bpe.gguf", [&](gguf_writer& out) {
      out.set_string("tokenizer.ggml.pre", std::string_view{pattern});
    });
    check_ids(*vocabulary, reference.at("texts"), expected);
  }
}

TEST_CASE("SentencePiece gives llama.cpp's ids, with and without a space put before a text") {
  const auto reference = read("small.json");
  for (const bool prefix : {true, false}) {
    CAPTURE(prefix);
    const auto vocabulary = changed("sentencepiece.gguf", [&](gguf_writer& out) {
      out.set_bool("tokenizer.ggml.add_space_prefix", prefix);
    });
    check_ids(
        *vocabulary, reference.at("texts"),
        reference.at("sentencepiece").at(prefix ? "prefix" : "no prefix"));
  }
}

TEST_CASE("the vocabularies of LLaMA 3, Qwen and Mistral give llama.cpp's ids") {
  const auto reference = read("real.json");
  for (const auto& [name, expected] : reference.as_object()) {
    if (name == "texts") continue;
    CAPTURE(std::string{name});
    const auto path =
        test::repository() / ".cache" / "models" / "vocabularies" / (std::string{name} + ".gguf");
    if (!std::filesystem::exists(path)) {
      WARN("SKIPPED: no " << path.string() << "; tests/parity/make_vocabularies.py real makes it");
      continue;
    }
    const auto vocabulary = tokenizer::from(*gguf_file::open(path).value());
    REQUIRE(vocabulary);
    check_ids(**vocabulary, reference.at("texts"), expected);
  }
}

}  // namespace dlls::model

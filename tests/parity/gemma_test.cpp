// Gemma 3 270M, a real file of another family, against llama.cpp (make_gemma.py).
#include <boost/json.hpp>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstdlib>
#include <optional>
#include <string>
#include <vector>

#include "base/file.hpp"
#include "kernels/ops.hpp"
#include "kernels/parallel.hpp"
#include "model/llama.hpp"
#include "model/tokenizer.hpp"
#include "tests/support/reference.hpp"

namespace dlls::model {
namespace {
namespace json = boost::json;

// The file in DLLS_TEST_GEMMA, else where make_gemma.py puts it. Absent: warns, and gives nothing.
std::shared_ptr<const gguf_file> gemma() {
  const char* named = std::getenv("DLLS_TEST_GEMMA");
  const auto path = named ? std::filesystem::path{named}
                          : test::repository() / ".cache" / "models" / "gemma-3-270m.Q4_K_M.gguf";
  if (std::filesystem::exists(path)) return gguf_file::open(path).value();
  WARN("SKIPPED: no file at " << path.string() << "; tests/parity/make_gemma.py model makes it");
  return nullptr;
}

json::value reference() {
  const auto text = base::read_file(test::tree_reference_folder() / "gemma3" / "gemma3.json");
  REQUIRE(text);
  return json::parse(*text);
}

template <class T>
std::vector<T> numbers(const json::value& from) {
  return json::value_to<std::vector<T>>(from);
}

// llama.cpp looks GELU up in a table of half-precision numbers: so far may logits be apart.
constexpr double tolerance = 0.05;

void check_first(std::span<const float> logits, const json::value& expected) {
  const auto ids = numbers<std::size_t>(expected.at("ids"));
  const auto values = numbers<double>(expected.at("logits"));
  for (std::size_t i = 0; i < ids.size(); ++i)
    CHECK(logits[ids[i]] == Approx(values[i]).margin(tolerance));
  CHECK(
      kernels::log_sum_exp(logits.data(), logits.size()) ==
      Approx(expected.at("logsumexp").to_number<double>()).margin(tolerance));
}
}  // namespace

TEST_CASE("Gemma 3 270M chooses llama.cpp's tokens, beyond its window too") {
  const auto file = gemma();
  if (!file) return;
  const auto loaded = llama::load(file, activations::f32);
  REQUIRE(loaded);
  const auto& model = **loaded;
  CHECK(model.config().traits.window == 512);
  kernels::thread_pool pool;
  const auto expected = reference();
  for (const auto& run : expected.at("runs").as_array()) {
    INFO(run.at("name").as_string().c_str());
    const auto prompt = numbers<token_id>(run.at("prompt")),
               output = numbers<token_id>(run.at("output"));
    const auto margin = numbers<double>(run.at("margin"));
    kv_cache cache(
        model.config(), static_cast<std::uint32_t>(prompt.size() + output.size()), model.kv_type());
    std::vector<float> logits(model.config().vocab);
    forward(model, cache, prompt, logits, pool);
    check_first(logits, run.at("top"));
    for (std::size_t i = 0; i < output.size(); ++i) {
      const auto best = std::max_element(logits.begin(), logits.end()) - logits.begin();
      INFO("step " << i << ", margin " << margin[i]);
      CHECK((best == output[i] || margin[i] < tolerance));
      forward(model, cache, std::span(&output[i], 1), logits, pool);
    }
  }
}

TEST_CASE("Gemma's token ids equal llama.cpp's") {
  const auto file = gemma();
  if (!file) return;
  const auto vocabulary = tokenizer::from(*file).value();
  CHECK(vocabulary->add_bos());
  CHECK(vocabulary->bos() == 2);
  CHECK(vocabulary->is_end(1));
  CHECK(vocabulary->is_end(106));  // <end_of_turn>
  const auto expected = reference();
  for (const auto& entry : expected.at("tokenize").as_array()) {
    const std::string text{entry.at("text").as_string()};
    CAPTURE(text);
    const auto plain = vocabulary->encode(text, false);
    CHECK(plain == numbers<token_id>(entry.at("plain")));
    CHECK(vocabulary->encode(text, true) == numbers<token_id>(entry.at("special")));
    // SentencePiece's mark for a space comes back as a space.
    if (text.find("\u2581") == text.npos) CHECK(vocabulary->decode(plain, true) == text);
  }
}

}  // namespace dlls::model

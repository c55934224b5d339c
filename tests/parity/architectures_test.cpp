// Tiny models of every architecture against llama.cpp's logits (make_architectures.py), and the
// same files with a key changed, so that each trait is seen to matter.
#include <boost/json.hpp>
#include <catch2/catch.hpp>
#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "base/file.hpp"
#include "kernels/parallel.hpp"
#include "model/gguf_writer.hpp"
#include "model/llama.hpp"
#include "tests/support/reference.hpp"
#include "tests/support/temp_folder.hpp"

namespace dlls::model {
namespace {
namespace json = boost::json;

std::filesystem::path folder() { return test::tree_reference_folder() / "architectures"; }

struct reference {
  std::vector<token_id> tokens;
  std::vector<std::vector<double>> logits;  // of every eighth position
};

std::vector<std::pair<std::string, reference>> references() {
  const auto text = base::read_file(folder() / "logits.json");
  REQUIRE(text);
  const auto all = json::parse(*text);
  REQUIRE(all.at("every").as_int64() == 8);
  std::vector<std::pair<std::string, reference>> read;
  for (const auto& [name, entry] : all.at("cases").as_object())
    read.emplace_back(
        name, reference{
                  json::value_to<std::vector<token_id>>(entry.at("tokens")),
                  json::value_to<std::vector<std::vector<double>>>(entry.at("logits"))});
  return read;
}

reference reference_of(std::string_view name) {
  for (auto& [key, entry] : references())
    if (key == name) return entry;
  FAIL("no reference " << name);
  return {};
}

// The largest difference at the positions that the reference has; `piece` tokens a call.
double worst_difference(const llama& model, const reference& expected, std::size_t piece) {
  kernels::thread_pool pool(2);
  kv_cache cache(model.config(), 64, model.kv_type());
  double worst = 0;
  for (std::size_t at = 0; at < expected.tokens.size(); at += piece)
    forward_each(
        model, cache,
        std::span(expected.tokens).subspan(at, std::min(piece, expected.tokens.size() - at)),
        [&](std::uint32_t position, std::span<const float> logits) {
          if (position % 8 != 7) return;
          for (std::size_t i = 0; i < logits.size(); ++i) {
            const double off = std::fabs(logits[i] - expected.logits.at(position / 8).at(i));
            if (!(off <= worst)) worst = std::isnan(off) ? INFINITY : off;
          }
        },
        pool);
  return worst;
}

// A reference file with its metadata changed.
std::shared_ptr<const llama> load_with(
    std::string_view name, const std::function<void(gguf_writer&)>& change) {
  const auto file = gguf_file::open(folder() / (std::string{name} + ".gguf"));
  REQUIRE(file);
  const test::temp_folder place;
  gguf_writer out;
  out.copy_metadata(**file);
  change(out);
  for (const auto& t : (*file)->tensors()) out.add_tensor(t.name, t.type, t.shape, t.data);
  REQUIRE(out.write(place / "m.gguf"));
  const auto made = llama::load(gguf_file::open(place / "m.gguf").value(), activations::f32);
  REQUIRE(made);
  return *made;
}
}  // namespace

TEST_CASE("every architecture gives llama.cpp's logits, all at once and token by token") {
  for (const auto& [name, expected] : references()) {
    INFO(name);
    const auto model = load_with(name, [](gguf_writer&) {});
    // llama.cpp looks GELU up in a table of half-precision numbers.
    const double tolerance = model->config().traits.gate == gate_kind::gelu_tanh ? 5e-3 : 1e-3;
    for (const std::size_t piece : {48, 1, 13})
      CHECK(worst_difference(*model, expected, piece) < tolerance);
  }
}

TEST_CASE("LLaMA 3.1's scaling in the metadata equals the factors that files bring") {
  const auto expected = reference_of("llama-3.1");
  const auto from_factors = load_with("llama-3.1", [](gguf_writer&) {});
  // The factors of the file would count a second time.
  const auto file = gguf_file::open(folder() / "llama-3.1.gguf").value();
  const test::temp_folder place;
  gguf_writer out;
  out.copy_metadata(*file);
  out.set_string("llama.rope.scaling.type", "llama3");
  out.set_f32("llama.rope.scaling.factor", 8);
  out.set_f32("llama.rope.scaling.low_freq_factor", 1);
  out.set_f32("llama.rope.scaling.high_freq_factor", 4);
  out.set_u32("llama.rope.scaling.original_context_length", 32);
  for (const auto& t : file->tensors())
    if (t.name != "rope_freqs.weight") out.add_tensor(t.name, t.type, t.shape, t.data);
  REQUIRE(out.write(place / "m.gguf"));
  const auto made = llama::load(gguf_file::open(place / "m.gguf").value(), activations::f32);
  REQUIRE(made);
  CHECK(worst_difference(**made, expected, 48) < 1e-3);
}

TEST_CASE("each trait of an architecture matters") {
  struct change {
    std::string name, what;
    std::function<void(gguf_writer&)> make;
  };
  const std::vector<change> changes = {
      {"llama-linear", "no scaling",
       [](gguf_writer& o) { o.set_string("llama.rope.scaling.type", "none"); }},
      {"llama-yarn", "no scaling",
       [](gguf_writer& o) { o.set_string("llama.rope.scaling.type", "none"); }},
      {"llama-yarn", "linear",
       [](gguf_writer& o) { o.set_string("llama.rope.scaling.type", "linear"); }},
      {"llama-yarn", "a window",
       [](gguf_writer& o) { o.set_u32("llama.attention.sliding_window", 8); }},
      {"qwen2-yarn", "no attention factor",
       [](gguf_writer& o) { o.set_f32("qwen2.rope.scaling.attn_factor", 1); }},
      {"gemma3", "a wider window",
       [](gguf_writer& o) { o.set_u32("gemma3.attention.sliding_window", 9); }},
      {"gemma3", "no full layer",
       [](gguf_writer& o) { o.set_u32("gemma3.attention.sliding_window_pattern", 100); }},
      {"gemma3", "another base",
       [](gguf_writer& o) { o.set_f32("gemma3.rope.freq_base_swa", 20000); }},
      {"gemma3", "no scaling",
       [](gguf_writer& o) { o.set_string("gemma3.rope.scaling.type", "none"); }},
      {"gemma3", "capped logits",
       [](gguf_writer& o) { o.set_f32("gemma3.final_logit_softcapping", 5); }}};
  for (const auto& c : changes) {
    INFO(c.name << ": " << c.what);
    CHECK(worst_difference(*load_with(c.name, c.make), reference_of(c.name), 48) > 1e-2);
  }
}

}  // namespace dlls::model

#include "model/architectures/architecture.hpp"

#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <functional>
#include <numbers>
#include <string>
#include <vector>

#include "base/random.hpp"
#include "kernels/element.hpp"
#include "kernels/parallel.hpp"
#include "model/gguf_writer.hpp"
#include "model/llama.hpp"
#include "model/trainer.hpp"
#include "tests/support/plain_llama.hpp"
#include "tests/support/reference.hpp"
#include "tests/support/temp_folder.hpp"

namespace dlls::model {
namespace {
using base::errc;

// A tiny model of tests/parity/reference/architectures, with changes.
struct changed {
  std::string name = "gemma3";
  std::function<void(gguf_writer&)> metadata = [](gguf_writer&) {};
  std::string leave_out{};
  std::string add{};       // a vector of dim numbers
  std::string lengthen{};  // a vector of one number more
};

std::shared_ptr<const gguf_file> file_with(const test::temp_folder& folder, const changed& c) {
  const auto whole =
      gguf_file::open(test::tree_reference_folder() / "architectures" / (c.name + ".gguf"));
  REQUIRE(whole);
  gguf_writer out;
  out.copy_metadata(**whole);
  c.metadata(out);
  const std::vector<float> numbers(64, 1.0f);
  const auto add_vector = [&](const std::string& name, std::uint64_t n) {
    out.add_tensor(name, tensor_type::f32, {n}, std::as_bytes(std::span(numbers).first(n)));
  };
  for (const auto& t : (*whole)->tensors()) {
    if (t.name == c.leave_out) continue;
    if (t.name == c.lengthen)
      add_vector(t.name, t.elements() + 1);
    else
      out.add_tensor(t.name, t.type, t.shape, t.data);
  }
  if (!c.add.empty()) add_vector(c.add, 32);
  REQUIRE(out.write(folder / "m.gguf"));
  return gguf_file::open(folder / "m.gguf").value();
}

base::result<std::shared_ptr<const llama>> load_with(const changed& c) {
  const test::temp_folder folder;
  return llama::load(file_with(folder, c), activations::f32);
}

auto set(std::string key, std::uint32_t value) {
  return [=](gguf_writer& out) { out.set_u32(key, value); };
}
auto set(std::string key, float value) {
  return [=](gguf_writer& out) { out.set_f32(key, value); };
}
auto set(std::string key, const char* value) {
  return [=](gguf_writer& out) { out.set_string(key, value); };
}
}  // namespace

TEST_CASE("every trait is computed as it is written down plainly in double") {
  const auto seed = Catch::rngSeed();
  INFO("replay with --rng-seed " << seed);
  base::random_source random{seed};
  std::vector<token_id> tokens(41);
  for (auto& id : tokens) id = static_cast<token_id>(random.below(40));
  kernels::thread_pool pool(2);
  const std::vector<changed> cases = {
      {"llama-linear"},
      {"llama-yarn"},
      {"llama-yarn", set("llama.attention.sliding_window", 7u)},
      {"llama-linear", set("llama.attention.sliding_window", 1u)},
      {"qwen2"},
      {"qwen2-yarn"},
      {"qwen3"},
      {"gemma3"},
      {"gemma3", set("gemma3.attention.sliding_window_pattern", 2u)},
      {"gemma3", set("gemma3.final_logit_softcapping", 3.0f)}};
  for (const auto& c : cases) {
    INFO(c.name);
    const test::temp_folder folder;
    const auto file = file_with(folder, c);
    const auto expected = test::plain_llama(*file).logits(tokens);
    const auto model = llama::load(file, activations::f32);
    REQUIRE(model);
    kv_cache cache((*model)->config(), 64, kernels::element::f32);
    std::vector<float> logits((*model)->config().vocab);
    forward(**model, cache, tokens, logits, pool);
    for (std::size_t i = 0; i < logits.size(); ++i)
      CHECK(logits[i] == Approx(expected[i]).margin(2e-4));
  }
}

// As GGUF's q8_0 has them: a scale in half precision, then 32 bytes.
std::vector<std::byte> quantised(const tensor_info& t) {
  std::vector<float> values(t.elements());
  kernels::dequantise(values.data(), kernels::element::f16, t.data.data(), values.size());
  std::vector<std::byte> blocks(values.size() / 32 * 34);
  for (std::size_t b = 0; b < values.size() / 32; ++b) {
    const auto* x = &values[b * 32];
    float peak = 0;
    for (int i = 0; i < 32; ++i) peak = std::max(peak, std::fabs(x[i]));
    const auto scale = kernels::to_half(peak / 127);
    std::memcpy(&blocks[b * 34], &scale, 2);
    for (int i = 0; i < 32; ++i) {
      const auto q = static_cast<std::int8_t>(std::lround(x[i] / peak * 127));
      std::memcpy(&blocks[b * 34 + 2 + i], &q, 1);
    }
  }
  return blocks;
}

TEST_CASE("quantised activations change the logits of no architecture much") {
  kernels::thread_pool pool(2);
  std::vector<token_id> tokens(30);
  for (std::size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<token_id>(i * 7 % 40);
  for (const std::string name : {"qwen2", "qwen3", "gemma3"}) {
    INFO(name);
    const test::temp_folder folder;
    const auto whole = file_with(folder, {name});
    gguf_writer out;
    out.copy_metadata(*whole);
    std::vector<std::vector<std::byte>> blocks;
    for (const auto& t : whole->tensors()) {
      if (t.type == tensor_type::f16)
        out.add_tensor(t.name, tensor_type::q8_0, t.shape, blocks.emplace_back(quantised(t)));
      else
        out.add_tensor(t.name, t.type, t.shape, t.data);
    }
    REQUIRE(out.write(folder / "q8.gguf"));
    const auto file = gguf_file::open(folder / "q8.gguf").value();
    std::vector<std::vector<float>> logits;
    for (const auto how : {activations::f32, activations::q8}) {
      const auto model = llama::load(file, how).value();
      kv_cache cache(model->config(), 64, model->kv_type());
      logits.emplace_back(model->config().vocab);
      forward(*model, cache, tokens, logits.back(), pool);
    }
    double size = 0, off = 0;
    for (std::size_t i = 0; i < logits[0].size(); ++i) {
      size += double{logits[0][i]} * logits[0][i];
      off += std::pow(double{logits[1][i]} - logits[0][i], 2);
    }
    CHECK(std::sqrt(off / size) < 0.03);
    CHECK(logits[0] != logits[1]);  // it really was the other way
  }
}

TEST_CASE("an architecture sets what it differs in from LLaMA, and nothing else") {
  const auto traits = [](const changed& c) {
    const test::temp_folder folder;
    return read_llama_config(*file_with(folder, c)).value().traits;
  };
  CHECK(traits({"llama-3.1"}) == llama_traits{});
  CHECK(traits({"qwen2"}) == llama_traits{.pairs = kernels::rope_pairs::halves, .qkv_bias = true});
  CHECK(traits({"qwen3"}) == llama_traits{.pairs = kernels::rope_pairs::halves, .qk_norm = true});
  const auto gemma = traits({});
  CHECK(gemma.window == 8);
  CHECK(gemma.full_every == 6);
  CHECK(gemma.windowed_rope_base == 10000);
  CHECK(gemma.scaling.factor == 8);
  CHECK(gemma.embedding_scale == std::sqrt(32.0f));
  CHECK(gemma.gate == gate_kind::gelu_tanh);
  llama_config c;
  c.traits = gemma;
  for (std::uint32_t layer = 0; layer < 12; ++layer) CHECK(c.windowed(layer) == (layer % 6 != 5));
  c.traits.full_every = 0;
  CHECK(c.windowed(5));
  c.traits.window = 0;
  CHECK_FALSE(c.windowed(0));
}

TEST_CASE("a model file says how its embeddings are pooled") {
  const auto pooled = [](const std::function<void(gguf_writer&)>& change) {
    const test::temp_folder folder;
    return read_llama_config(*file_with(folder, {"qwen3", change})).value().pooled;
  };
  CHECK(pooled([](gguf_writer&) {}) == pooling::mean);
  const std::optional<pooling> expected[] = {
      pooling::mean, pooling::mean, std::nullopt, pooling::last, std::nullopt};
  for (std::uint32_t type = 0; type < 5; ++type) {
    INFO("pooling_type " << type);
    CHECK(pooled(set("qwen3.pooling_type", type)) == expected[type]);
  }
  const auto refused = load_with({"qwen3", set("qwen3.pooling_type", 5u)});
  REQUIRE(refused.has_error());
  CHECK(refused.error().code == errc::corrupt);
  CHECK(refused.error().message.find("qwen3.pooling_type") != std::string::npos);
}

TEST_CASE("a factor without a type is linear, as files before the key had it") {
  const auto scaling = [](const std::function<void(gguf_writer&)>& change) {
    const test::temp_folder folder;
    return read_llama_config(*file_with(folder, {"llama-3.1", change})).value().traits.scaling;
  };
  CHECK(scaling(set("llama.rope.scale_linear", 4.0f)).kind == rope_kind::linear);
  CHECK(scaling(set("llama.rope.scale_linear", 4.0f)).factor == 4);
  CHECK(scaling(set("llama.rope.scaling.factor", 0.0f)) == rope_scaling{});
}

TEST_CASE("YaRN leaves fast pairs alone, slows slow ones by the factor, and mixes in between") {
  const rope_scaling yarn{.kind = rope_kind::yarn, .factor = 4, .trained = 4096};
  const auto plain = make_rope(128, 10000, {}), slowed = make_rope(128, 10000, yarn);
  CHECK(slowed.frequencies[0] == plain.frequencies[0]);
  CHECK(slowed.frequencies[63] == Approx(plain.frequencies[63] / 4));
  CHECK(slowed.magnitude == Approx(1 + 0.1 * std::log(4.0)));
  for (std::size_t i = 0; i < 64; ++i) {
    const double turns = 4096 * plain.frequencies[i] / (2 * std::numbers::pi);
    const double ratio = plain.frequencies[i] / slowed.frequencies[i];
    CHECK(ratio >= 1);
    CHECK(ratio <= Approx(4));
    if (turns > 40) CHECK(ratio == 1);
    if (turns < 0.8) CHECK(ratio == Approx(4));
  }
}

TEST_CASE("an architecture's file that contradicts it is refused by name") {
  const auto corrupt = errc::corrupt, unsupported = errc::unsupported;
  const std::string window = "gemma3.attention.sliding_window", yarn = "llama-yarn";
  const std::string scaling = "llama.rope.scaling.";
  const std::vector<std::tuple<changed, errc, std::string>> lies = {
      {{"qwen2", set("general.architecture", "qwen9")}, unsupported, "qwen9"},
      {{"qwen2", set("general.architecture", "llama")}, corrupt, "llama.embedding_length"},
      {{.name = "qwen2", .leave_out = "blk.1.attn_k.bias"}, corrupt, "blk.1.attn_k.bias"},
      {{.name = "qwen2", .lengthen = "blk.0.attn_v.bias"}, corrupt, "blk.0.attn_v.bias"},
      {{.name = "qwen2", .add = "blk.0.attn_output.bias"}, unsupported, "blk.0.attn_output.bias"},
      {{.name = "qwen3", .leave_out = "blk.0.attn_q_norm.weight"}, corrupt, "attn_q_norm"},
      {{.name = "qwen3", .lengthen = "blk.1.attn_k_norm.weight"}, corrupt, "attn_k_norm"},
      {{.leave_out = "blk.3.post_ffw_norm.weight"}, corrupt, "blk.3.post_ffw_norm.weight"},
      {{.lengthen = "blk.6.post_attention_norm.weight"}, corrupt, "blk.6.post_attention_norm"},
      {{"gemma3", set(window, 0u)}, corrupt, window},
      {{"gemma3", set(window, "all")}, corrupt, window},
      {{"gemma3", set(window + "_pattern", 0u)}, corrupt, window + "_pattern"},
      {{"gemma3", set("gemma3.rope.freq_base_swa", 0.5f)}, corrupt, "freq_base_swa"},
      {{"gemma3", set("gemma3.rope.freq_base_swa", NAN)}, corrupt, "freq_base_swa"},
      {{"gemma3", set("gemma3.final_logit_softcapping", -1.0f)}, corrupt, "softcapping"},
      {{yarn, set("llama.attention.sliding_window", 1u << 30)}, corrupt, "sliding_window"},
      {{yarn, set(scaling + "type", "longrope")}, unsupported, "longrope"},
      {{yarn, set(scaling + "type", 3u)}, corrupt, scaling + "type"},
      {{yarn, set(scaling + "type", "llama3")}, errc::ok, ""},
      {{yarn, set(scaling + "factor", -2.0f)}, corrupt, scaling + "factor"},
      {{yarn, set(scaling + "factor", 0.5f)}, corrupt, scaling + "factor"},
      {{yarn, set(scaling + "factor", INFINITY)}, corrupt, scaling + "factor"},
      {{yarn, set(scaling + "original_context_length", 0u)}, corrupt, "original_context"},
      {{yarn, set(scaling + "yarn_beta_fast", 0.0f)}, corrupt, "yarn_beta_fast"},
      {{yarn, set(scaling + "yarn_log_multiplier", 0.1f)}, unsupported, "yarn_log_multiplier"},
      {{yarn,
        [&](gguf_writer& o) {
          o.set_string(scaling + "type", "llama3");
          o.set_f32(scaling + "low_freq_factor", 4);
        }},
       corrupt,
       "low_freq_factor"}};
  for (const auto& [lie, code, word] : lies) {
    const auto got = load_with(lie);
    INFO("expected a word on " << word << ", got " << (got ? "a model" : got.error().text()));
    CHECK((got ? errc::ok : got.error().code) == code);
    if (!got) CHECK(got.error().message.find(word) != std::string::npos);
  }
}

TEST_CASE("training refuses arithmetic that it does not have, before it starts") {
  kernels::thread_pool pool(1);
  for (const std::string name : {"qwen2", "qwen3", "gemma3", "llama-yarn"}) {
    const test::temp_folder folder;
    training_spec spec;
    spec.kind = "fine_tune";
    const auto made = trainer::create(file_with(folder, {name}), {}, spec, pool);
    REQUIRE_FALSE(made);
    CHECK(made.error().code == errc::unsupported);
  }
}

TEST_CASE("a llama file with biases is computed with them") {
  // The file of another architecture under the name of llama, whose pairs lie otherwise.
  const auto renamed = [](gguf_writer& out) {
    const test::temp_folder folder;
    const auto from = file_with(folder, {"llama-linear"});
    out.copy_metadata(*from);
  };
  const auto model = load_with({"qwen2", renamed});
  REQUIRE(model);
  CHECK((*model)->config().traits.qkv_bias);
}

}  // namespace dlls::model

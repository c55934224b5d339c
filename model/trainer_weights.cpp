#include "model/trainer_weights.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/check.hpp"
#include "base/random.hpp"
#include "kernels/element.hpp"

namespace dlls::model {
namespace {

constexpr double init_deviation = 0.02;
constexpr std::string_view rope_factors_name = "rope_freqs.weight";

}  // namespace

parameter_layout::parameter_layout(const llama_config& c) {
  const std::size_t q = std::size_t(c.heads) * c.head_dim,
                    kv = std::size_t(c.kv_heads) * c.head_dim;
  embedding_ = add("token_embd.weight", c.vocab, c.dim);
  for (std::uint32_t i = 0; i < c.layers; ++i) {
    const auto named = [i](std::string_view part) {
      return fmt::format("blk.{}.{}.weight", i, part);
    };
    layer l{};
    l.attention_norm = add(named("attn_norm"), 1, c.dim);
    l.qkv = add(named("attn_q"), q, c.dim);
    add(named("attn_k"), kv, c.dim);
    add(named("attn_v"), kv, c.dim);
    l.attention_out = add(named("attn_output"), c.dim, q);
    l.ff_norm = add(named("ffn_norm"), 1, c.dim);
    l.gate_up = add(named("ffn_gate"), c.ff, c.dim);
    add(named("ffn_up"), c.ff, c.dim);
    l.down = add(named("ffn_down"), c.dim, c.ff);
    layers_.push_back(l);
  }
  output_norm_ = add("output_norm.weight", 1, c.dim);
  output_ = c.tied ? embedding_ : add("output.weight", c.vocab, c.dim);
}

std::size_t parameter_layout::add(std::string name, std::size_t rows, std::size_t columns) {
  parameter p;
  p.name = std::move(name), p.rows = rows, p.columns = columns;
  p.offset = values_, p.matrix = rows > 1;
  values_ += p.values();
  all_.push_back(std::move(p));
  return all_.back().offset;
}

base::result<> read_weights(
    const gguf_file& file, const parameter_layout& layout, std::span<float> weights) {
  base::check(weights.size() == layout.values(), "weights of another size than the layout");
  for (const auto& p : layout.all()) {
    const auto* t = file.find(p.name);
    if (!t)
      return base::error{base::errc::corrupt, fmt::format("the model has no tensor '{}'", p.name)};
    const bool fits =
        p.matrix ? t->row_values() == p.columns && t->rows() == p.rows : t->elements() == p.columns;
    if (!fits)
      return base::error{
          base::errc::corrupt, fmt::format(
                                   "tensor '{}' has {} values in rows of {}, not {} rows of {}",
                                   p.name, t->elements(), t->row_values(), p.rows, p.columns)};
    kernels::dequantise(weights.data() + p.offset, element_of(t->type), t->data.data(), p.values());
  }
  for (const auto& t : file.tensors()) {
    const bool known =
        t.name == rope_factors_name ||
        std::ranges::any_of(layout.all(), [&](const auto& p) { return p.name == t.name; });
    if (!known)
      return base::error{
          base::errc::unsupported,
          fmt::format("training knows no tensor '{}': the model is no plain LLaMA", t.name)};
  }
  return {};
}

// Box and Muller's method, one pair of uniform numbers a value; logarithm and cosine in double, so
// that rounding to float hides what mathematical libraries differ in.
void draw_weights(const parameter_layout& layout, std::uint64_t seed, std::span<float> weights) {
  base::check(weights.size() == layout.values(), "weights of another size than the layout");
  base::random_source random(seed);
  for (const auto& p : layout.all())
    for (std::size_t i = 0; i < p.values(); ++i) {
      float& w = weights[p.offset + i];
      if (!p.matrix) {
        w = 1.0F;
        continue;
      }
      const double radius = std::sqrt(-2.0 * std::log(1.0 - random.uniform()));
      w = float(init_deviation * radius * std::cos(2.0 * std::numbers::pi * random.uniform()));
    }
}

llama_config config_of(const pretrain_shape& shape, std::size_t vocab, std::uint32_t context) {
  llama_config c;
  c.vocab = std::uint32_t(vocab), c.dim = shape.dim, c.layers = shape.layers;
  c.heads = shape.heads, c.kv_heads = shape.kv_heads, c.head_dim = shape.dim / shape.heads;
  c.ff = shape.ff, c.context = context, c.rope_base = float(shape.rope_base);
  c.rms_eps = float(shape.rms_eps), c.tied = shape.tied;
  return c;
}

base::result<std::vector<float>> read_rope_factors(
    const gguf_file& file, const llama_config& config) {
  const auto* t = file.find(rope_factors_name);
  if (!t) return std::vector<float>{};
  if (t->type != tensor_type::f32 || t->elements() != config.head_dim / 2)
    return base::error{
        base::errc::corrupt, fmt::format("tensor '{}' does not fit the heads", rope_factors_name)};
  std::vector<float> factors(config.head_dim / 2);
  kernels::dequantise(factors.data(), kernels::element::f32, t->data.data(), factors.size());
  return factors;
}

}  // namespace dlls::model

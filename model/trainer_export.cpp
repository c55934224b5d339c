#include <fmt/format.h>

#include <atomic>
#include <cmath>
#include <cstring>

#include "kernels/element.hpp"
#include "model/gguf_writer.hpp"
#include "model/trainer_state.hpp"

namespace dlls::model {
namespace {

constexpr std::uint32_t file_type_f16 = 1;      // ggml's number for "mostly F16"
constexpr std::size_t convert_grain = 1 << 16;  // values
constexpr float half_max = 65504.0F;

void describe(gguf_writer& out, const llama_config& c) {
  out.set_string("general.architecture", "llama");
  out.set_u32("llama.vocab_size", c.vocab);
  out.set_u32("llama.context_length", c.context);
  out.set_u32("llama.embedding_length", c.dim);
  out.set_u32("llama.block_count", c.layers);
  out.set_u32("llama.feed_forward_length", c.ff);
  out.set_u32("llama.attention.head_count", c.heads);
  out.set_u32("llama.attention.head_count_kv", c.kv_heads);
  out.set_u32("llama.attention.key_length", c.head_dim);
  out.set_u32("llama.attention.value_length", c.head_dim);
  out.set_u32("llama.rope.dimension_count", c.head_dim);
  out.set_f32("llama.rope.freq_base", c.rope_base);
  out.set_string("llama.rope.scaling.type", "none");  // whatever the vocabulary's file had
  out.set_u32("llama.attention.sliding_window", 0);
  out.set_f32("llama.attention.layer_norm_rms_epsilon", c.rms_eps);
}

// Half precision, to nearest. A weight that it cannot hold ends the export: no silent infinity.
base::result<> to_halves(
    kernels::thread_pool& pool, const std::string& name, std::span<const float> from,
    std::span<std::byte> to) {
  std::atomic<bool> fits{true};
  kernels::parallel_for(pool, from.size(), convert_grain, [&](std::size_t first, std::size_t last) {
    for (std::size_t i = first; i < last; ++i) {
      if (!(std::abs(from[i]) <= half_max)) fits = false;
      const std::uint16_t half = kernels::to_half(from[i]);
      std::memcpy(to.data() + i * sizeof half, &half, sizeof half);
    }
  });
  if (!fits)
    return base::error{
        base::errc::failed_precondition,
        fmt::format("tensor '{}' has a weight that half precision cannot hold", name)};
  return {};
}

}  // namespace

base::result<> trainer::export_gguf(
    const std::filesystem::path& path, const std::string& model_name) const {
  const auto& s = *state_;
  gguf_writer out;
  out.copy_metadata(*s.base);
  out.set_string("general.name", model_name);
  out.set_u32("general.file_type", file_type_f16);
  if (s.spec.kind == "pretrain") describe(out, s.config);
  for (const auto& p : s.layout.all()) {
    const std::span<const float> values(s.weights.weights.data() + p.offset, p.values());
    if (p.matrix)
      out.add_tensor(
          p.name, tensor_type::f16, {p.columns, p.rows}, [&s, &p, values](std::span<std::byte> to) {
            return to_halves(s.pool, p.name, values, to);
          });
    else
      out.add_tensor(p.name, tensor_type::f32, {p.columns}, std::as_bytes(values));
  }
  if (const auto* factors = s.base->find("rope_freqs.weight");
      factors && s.spec.kind == "fine_tune")
    out.add_tensor(factors->name, factors->type, factors->shape, factors->data);
  if (auto written = out.write(path); !written) return written;
  return s.base->intact();  // its metadata went into the file
}

}  // namespace dlls::model

#include "model/kv_cache.hpp"

#include <algorithm>

#include "base/check.hpp"
#include "model/llama_workspace.hpp"

namespace dlls::model {

kv_cache::kv_cache(const llama_config& config, std::uint32_t capacity, kernels::element type)
    : capacity_(capacity), layers_(config.layers), scratch_(std::make_unique<workspace>()) {
  base::check(capacity > 0, "a cache holds at least one token");
  base::check(
      type == kernels::element::f16 || type == kernels::element::f32, "a cache of f16 or f32");
  shape_.type = type;
  shape_.kv_heads = config.kv_heads;
  shape_.head_dim = config.head_dim;
  shape_.capacity = (std::size_t{capacity} + 15) / 16 * 16;
  memory_ = kernels::huge_buffer(layers_ * (shape_.key_bytes() + shape_.value_bytes()), false);
}

kv_cache::kv_cache(kv_cache&&) noexcept = default;
kv_cache& kv_cache::operator=(kv_cache&&) noexcept = default;
kv_cache::~kv_cache() = default;

std::uint64_t kv_cache::bytes_per_token() const noexcept {
  return layers_ * (shape_.key_bytes() + shape_.value_bytes()) / shape_.capacity;
}

void kv_cache::truncate(std::uint32_t size) {
  base::check(size <= size_, "a cache is cut, not stretched");
  size_ = size;
}

kernels::kv_view kv_cache::layer(std::uint32_t index) const noexcept {
  auto view = shape_;
  view.keys = memory_.data() + index * (shape_.key_bytes() + shape_.value_bytes());
  view.values = view.keys + shape_.key_bytes();
  return view;
}

void kv_cache::grow(std::uint32_t tokens) {
  base::check(tokens <= capacity_ - size_, "tokens within the cache's capacity");
  size_ += tokens;
}

void kv_cache::workspace::reserve(const llama_config& c, std::size_t rows) {
  const auto at_least = [rows](auto& buffer, std::size_t width) {
    if (buffer.size() < rows * width) buffer.resize(rows * width);
  };
  const std::size_t heads = std::size_t{c.heads} * c.head_dim;
  const std::size_t kv = std::size_t{c.kv_heads} * c.head_dim;
  at_least(x, c.dim);
  at_least(normed, c.dim);
  at_least(q, heads);
  at_least(k, kv);
  at_least(v, kv);
  at_least(attended, heads);
  at_least(gate, c.ff);
  at_least(up, c.ff);
  at_least(turns, c.head_dim);
  if (c.traits.windowed_rope_base != 0) at_least(windowed_turns, c.head_dim);
  const auto widest = std::max<std::size_t>({c.dim, heads, c.ff});
  at_least(blocks, (widest + kernels::block_values - 1) / kernels::block_values);
}

}  // namespace dlls::model

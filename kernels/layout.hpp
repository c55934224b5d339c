// How keys, values and rotated pairs lie in memory. Plain types, since the files of every
// instruction set include it.
#pragma once
#include <cstddef>
#include <cstdint>

#include "kernels/element.hpp"

namespace dlls::kernels {

// Which numbers of a head the rotary embedding turns together: (2i, 2i+1), the order of GGUF's
// LLaMA files, or (i, i + head_dim/2), Hugging Face's order.
enum class rope_pairs : bool { adjacent, halves };

// One layer's keys and values of one sequence. Memory belongs to the cache; a view is a few words.
// Keys lie like packed weights, sixteen positions to a panel: (kv_heads, capacity / 16, head_dim,
// 16). Values lie as (kv_heads, capacity, value_stride).
struct kv_view {
  element type = element::f16;  // f16 or f32
  std::size_t kv_heads = 0;
  std::size_t head_dim = 0;
  std::size_t capacity = 0;  // positions, a multiple of 16
  std::byte* keys = nullptr;
  std::byte* values = nullptr;

  // head_dim rounded up to whole registers; what lies between stays zero.
  std::size_t value_stride() const noexcept { return (head_dim + 15) / 16 * 16; }
  std::size_t key_bytes() const noexcept { return bytes_of(type, kv_heads * capacity * head_dim); }
  std::size_t value_bytes() const noexcept {
    return bytes_of(type, kv_heads * capacity * value_stride());
  }
};

}  // namespace dlls::kernels

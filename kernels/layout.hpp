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

// Positions of one page of a key-value cache; attention looks at one page in one go.
inline constexpr std::size_t kv_page_positions = 64;

// How a page keeps its positions' keys and values, a layer after the other. Keys lie like packed
// weights, sixteen positions to a panel: (kv_heads, 4, head_dim, 16). Behind them the values:
// (kv_heads, 64, value_stride).
struct kv_shape {
  element type = element::f16;  // f16 or f32
  std::size_t kv_heads = 0;
  std::size_t head_dim = 0;

  // head_dim rounded up to whole registers; what lies between stays zero.
  std::size_t value_stride() const noexcept { return (head_dim + 15) / 16 * 16; }
  // Of one head, and of one layer, in one page.
  std::size_t head_key_bytes() const noexcept {
    return bytes_of(type, kv_page_positions * head_dim);
  }
  std::size_t head_value_bytes() const noexcept {
    return bytes_of(type, kv_page_positions * value_stride());
  }
  std::size_t layer_bytes() const noexcept {
    return kv_heads * (head_key_bytes() + head_value_bytes());
  }
};

// One layer's keys and values of one sequence. Pages and table belong to the cache; a view is a few
// words.
struct kv_view : kv_shape {
  std::byte* const* pages = nullptr;  // page i holds positions [64 i, 64 i + 64)
  std::size_t page_count = 0;
  std::size_t offset = 0;  // of this layer in every page, bytes

  std::byte* keys(std::size_t page, std::size_t head) const noexcept {
    return pages[page] + offset + head * head_key_bytes();
  }
  std::byte* values(std::size_t page, std::size_t head) const noexcept {
    return pages[page] + offset + kv_heads * head_key_bytes() + head * head_value_bytes();
  }
  std::size_t capacity() const noexcept { return page_count * kv_page_positions; }
};

}  // namespace dlls::kernels

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

// How a page keeps one layer's keys and values, a key-value head after the other: its keys, then
// its values. So that one load takes the same number of sixteen positions, keys are (head_dim, 64);
// values are (64, value_stride).
//
// With q8_0, 32 numbers of a head at one position share a scale d, a half: d = max|x| / 127. Keys
// are packed like a matrix of q8_0 with 64 rows (packed.hpp), a row a position; values are int8
// (64, head_dim), behind them their scales (head_dim / 32, 64).
struct kv_shape {
  element type = element::f16;  // f16, f32 or q8_0, the latter with whole blocks of 32 in a head
  std::size_t kv_heads = 0;
  std::size_t head_dim = 0;

  // head_dim rounded up to whole registers; what lies between stays zero.
  std::size_t value_stride() const noexcept { return (head_dim + 15) / 16 * 16; }
  // From a head's values to the scales of block b; q8_0 only.
  std::size_t value_scale_offset(std::size_t b) const noexcept {
    return kv_page_positions * (head_dim + 2 * b);
  }
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
    return pages[page] + offset + head * (head_key_bytes() + head_value_bytes());
  }
  std::byte* values(std::size_t page, std::size_t head) const noexcept {
    return keys(page, head) + head_key_bytes();
  }
  std::size_t capacity() const noexcept { return page_count * kv_page_positions; }
};

}  // namespace dlls::kernels

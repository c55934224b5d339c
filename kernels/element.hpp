// How numbers lie in memory: the element types of weights, in the layout of GGUF files (ggml).
// Source: ggml's block_q8_0, block_q4_0, block_q4_1. Little-endian.
#pragma once
#include <cstddef>
#include <cstdint>

namespace dlls::kernels {

// q8_0, q4_0, q4_1: blocks of 32 values that share one (or two) half-precision numbers.
//   q8_0  d, int8 q[32]              value = d * q
//   q4_0  d, uint8 q[16]             value = d * (nibble - 8)
//   q4_1  d, m, uint8 q[16]          value = d * nibble + m
// Byte j holds value j in its low nibble, value j + 16 in its high one.
enum class element : std::uint8_t { f32, f16, bf16, q8_0, q4_0, q4_1 };

inline constexpr std::size_t block_values = 32;

constexpr bool is_quantised(element type) noexcept { return type >= element::q8_0; }

// Bytes of `n` values; for quantised types n is a multiple of block_values.
constexpr std::size_t bytes_of(element type, std::size_t n) noexcept {
  switch (type) {
    case element::f32:
      return n * 4;
    case element::f16:
    case element::bf16:
      return n * 2;
    case element::q8_0:
      return n / block_values * 34;
    case element::q4_0:
      return n / block_values * 18;
    case element::q4_1:
      return n / block_values * 20;
  }
  return 0;
}

// Activations quantised for integer dot products: 32 values of one row, x = d * q, d = max|x|/127,
// and sum = d * (sum of q), which carries a weight block's minimum.
struct q8_block {
  std::int8_t q[block_values];
  float d;
  float sum;
};
static_assert(sizeof(q8_block) == 40);

// IEEE half precision and bfloat16, one value; round to nearest, ties to even. NaN stays NaN.
float from_half(std::uint16_t bits) noexcept;
std::uint16_t to_half(float x) noexcept;
float from_bfloat(std::uint16_t bits) noexcept;
std::uint16_t to_bfloat(float x) noexcept;

// n values as GGUF stores them, to float. Exact. `in` needs no alignment.
void dequantise(float* out, element type, const std::byte* in, std::size_t n);

}  // namespace dlls::kernels

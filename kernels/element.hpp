// How numbers lie in memory: the element types of weights, in the layout of GGUF files (ggml).
// Source: ggml's block_q8_0, block_q4_K and so on. Little-endian.
#pragma once
#include <cstddef>
#include <cstdint>

namespace dlls::kernels {

// A quantised row consists of blocks of 32 or 256 values that share half-precision numbers: a
// scale d and, in some types, m. In a block of 256 (the "K" types, iq4_xs) each 16 or 32 values
// have a small whole number as scale of their own, and some a minimum. In all of them
//   value = d * scale * q + m * minimum                (scale and minimum 1 in blocks of 32)
// where d * scale * q is exact in float, so that a value is rounded at most once.
//
//   type    values  bytes  q                      of 16 or 32 values
//   q8_0        32     34  int8
//   q4_0        32     18  0..15 - 8
//   q4_1        32     20  0..15                   m
//   q5_0        32     22  0..31 - 16
//   q5_1        32     24  0..31                   m
//   iq4_nl      32     18  iq4_values[0..15]
//   q2_k       256     84  0..3                    16: scale 0..15, minimum 0..15; m = -dmin
//   q3_k       256    110  0..7 - 4                16: scale -32..31
//   q4_k       256    144  0..15                   32: scale 0..63, minimum 0..63; m = -dmin
//   q5_k       256    176  0..31                   32: scale 0..63, minimum 0..63; m = -dmin
//   q6_k       256    210  0..63 - 32              16: scale int8
//   iq4_xs     256    136  iq4_values[0..15]       32: scale -32..31
enum class element : std::uint8_t {
  f32,
  f16,
  bf16,
  q8_0,  // from here on quantised
  q4_0,
  q4_1,
  q5_0,
  q5_1,
  iq4_nl,
  q2_k,  // from here on in blocks of 256
  q3_k,
  q4_k,
  q5_k,
  q6_k,
  iq4_xs
};

// What an index of iq4_nl and iq4_xs stands for. Source: ggml's kvalues_iq4nl.
inline constexpr std::int8_t iq4_values[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                               1,    13,   25,  38,  53,  69,  89,  113};

// Activations are quantised by this many values, whatever the weights are.
inline constexpr std::size_t block_values = 32;

constexpr bool is_quantised(element type) noexcept { return type >= element::q8_0; }

// Values of one block as a file stores it; a row's length is a multiple of it.
constexpr std::size_t values_together(element type) noexcept {
  return !is_quantised(type) ? 1 : type < element::q2_k ? block_values : 256;
}

// Bytes of one block of values_together(type) values.
constexpr std::size_t bytes_together(element type) noexcept {
  constexpr std::uint8_t bytes[] = {4, 2, 2, 34, 18, 20, 22, 24, 18, 84, 110, 144, 176, 210, 136};
  return bytes[static_cast<std::size_t>(type)];
}

// Bytes of `n` values, a multiple of values_together(type).
constexpr std::size_t bytes_of(element type, std::size_t n) noexcept {
  return n / values_together(type) * bytes_together(type);
}

// Activations quantised for integer dot products: 32 values of one row, x = d * q, d = max|x|/127.
// The sums carry what a weight block adds to every value: sum = d * (sum of q), half_sum the same
// of either sixteen values, for types that differ between them.
struct q8_block {
  std::int8_t q[block_values];
  float d;
  float sum;
  float half_sum[2];
};
static_assert(sizeof(q8_block) == 48);

// IEEE half precision and bfloat16, one value; round to nearest, ties to even. NaN stays NaN.
float from_half(std::uint16_t bits) noexcept;
std::uint16_t to_half(float x) noexcept;
float from_bfloat(std::uint16_t bits) noexcept;
std::uint16_t to_bfloat(float x) noexcept;

// n values as GGUF stores them, to float: the nearest to what they stand for. n is a multiple of
// values_together(type); `in` needs no alignment.
void dequantise(float* out, element type, const std::byte* in, std::size_t n);

}  // namespace dlls::kernels

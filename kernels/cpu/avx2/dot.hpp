// Integer products for AVX2: bytes meet bytes in vpmaddubsw, which adds pairs to sums of sixteen
// bits; before these could overflow they are added by pairs to sums of 32 bits.
//
// When that is: a step adds two products to a sum, of weights of b bits with activations of at most
// 127, so `steps` steps make at most steps * 2 * (2^b - 1) * 127, which must stay below 32768:
//   b = 4 and less: 8 steps, 30480      b = 5: 4 steps, 31496      b = 6: 2 steps, 32004
// A weight of 8 bits is taken as two of four.
#pragma once
#include "kernels/backend.hpp"
#include "kernels/cpu/avx2/lanes.hpp"
#include "kernels/cpu/simd/numbers.hpp"

namespace dlls::kernels {
namespace {

using words = unsigned short __attribute__((vector_size(32)));

constexpr bool is_wide(element type) {
  const auto form = packing_of(type);
  return form.codebook || form.low_bits == 8;
}

// Steps whose sums fit in sixteen bits.
constexpr unsigned steps_that_fit(element type) {
  const auto form = packing_of(type);
  const auto bits = is_wide(type) ? 4 : form.low_bits + form.high_bits;
  return bits == 6 ? 2 : bits == 5 ? 4 : 8;
}

template <element Type>
constexpr std::size_t rows_at_once = is_wide(Type) ? 2 : 4;
constexpr std::size_t prefetch_bytes = 2048;

[[gnu::always_inline]] inline __m256i four_everywhere(const std::int8_t* q) {
  int bits;
  std::memcpy(&bits, q, 4);
  return _mm256_set1_epi32(bits);
}

// Adds here and now. Left to itself GCC gathers the terms of a block's sums in a tree, which needs
// far more registers than there are: half the speed goes into moving them to memory and back.
[[gnu::always_inline]] inline void add_now(__m256i& sum, __m256i term) {
  sum = _mm256_add_epi16(sum, term);
  asm("" : "+x"(sum));
}

// Pairs of sixteen-bit sums.
[[gnu::always_inline]] inline __m256i pair_sums(__m256i sums) {
  return _mm256_madd_epi16(sums, _mm256_set1_epi16(1));
}

// Half a step's weights: of eight rows. Wide ones as their low or their high four bits.
template <element Type>
[[gnu::always_inline]] inline __m256i weights_at(
    const std::uint8_t* q, unsigned step, std::size_t half) {
  return reinterpret_cast<__m256i>(step_bytes<Type, words>(q, step, 32 * half));
}

struct nibble_pair {
  __m256i low, high;
};

template <element Type>
[[gnu::always_inline]] inline nibble_pair wide_weights_at(
    const std::uint8_t* q, unsigned step, std::size_t half) {
  const __m256i bytes = weights_at<Type>(q, step, half), mask = _mm256_set1_epi8(15);
  if constexpr (packing_of(Type).codebook) {
    const auto* at = reinterpret_cast<const __m128i*>(iq4_bytes.value);
    const __m256i book = _mm256_broadcastsi128_si256(_mm_loadu_si128(at));
    const __m256i high = _mm256_and_si256(_mm256_srli_epi16(book, 4), mask);
    return {
        _mm256_shuffle_epi8(_mm256_and_si256(book, mask), bytes), _mm256_shuffle_epi8(high, bytes)};
  } else {
    return {_mm256_and_si256(bytes, mask), _mm256_and_si256(_mm256_srli_epi16(bytes, 4), mask)};
  }
}

template <element Type, unsigned First, unsigned Steps, std::size_t N>
[[gnu::always_inline]] inline void dot_narrow(
    lanes (&dot)[N], const std::uint8_t* q, const q8_block* const (&x)[N]) {
  constexpr auto fit = Steps < steps_that_fit(Type) ? Steps : steps_that_fit(Type);
  __m256i sum[N][2], wide[N][2];
#pragma GCC unroll 8
  for (unsigned s = 0; s < Steps; ++s) {
    const __m256i w[2] = {weights_at<Type>(q, First + s, 0), weights_at<Type>(q, First + s, 1)};
#pragma GCC unroll 8
    for (std::size_t i = 0; i < N; ++i) {
      const __m256i four = four_everywhere(x[i]->q + 4 * (First + s));
#pragma GCC unroll 2
      for (int h = 0; h < 2; ++h) {
        const __m256i term = _mm256_maddubs_epi16(w[h], four);
        if (s % fit == 0)
          sum[i][h] = term;
        else
          add_now(sum[i][h], term);
        if (s % fit == fit - 1)
          wide[i][h] =
              s < fit ? pair_sums(sum[i][h]) : _mm256_add_epi32(wide[i][h], pair_sums(sum[i][h]));
      }
    }
  }
#pragma GCC unroll 8
  for (std::size_t i = 0; i < N; ++i)
    dot[i] = {_mm256_cvtepi32_ps(wide[i][0]), _mm256_cvtepi32_ps(wide[i][1])};
}

template <element Type, unsigned First, unsigned Steps, std::size_t N>
[[gnu::always_inline]] inline void dot_wide(
    lanes (&dot)[N], const std::uint8_t* q, const q8_block* const (&x)[N]) {
  __m256i low[N][2], high[N][2];
#pragma GCC unroll 8
  for (unsigned s = 0; s < Steps; ++s) {
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
      const auto w = wide_weights_at<Type>(q, First + s, half);
#pragma GCC unroll 8
      for (std::size_t i = 0; i < N; ++i) {
        const __m256i four = four_everywhere(x[i]->q + 4 * (First + s));
        const __m256i a = _mm256_maddubs_epi16(w.low, four);
        const __m256i b = _mm256_maddubs_epi16(w.high, four);
        if (s == 0) {
          low[i][half] = a, high[i][half] = b;
        } else {
          add_now(low[i][half], a), add_now(high[i][half], b);
        }
      }
    }
  }
  const auto whole = [&](std::size_t i, int half) __attribute__((always_inline)) {
    const __m256i tens = _mm256_slli_epi32(pair_sums(high[i][half]), 4);
    return _mm256_cvtepi32_ps(_mm256_add_epi32(tens, pair_sums(low[i][half])));
  };
#pragma GCC unroll 8
  for (std::size_t i = 0; i < N; ++i) dot[i] = {whole(i, 0), whole(i, 1)};
}

template <element Type, unsigned First, unsigned Steps, std::size_t N>
[[gnu::always_inline]] inline void dot_steps(
    lanes (&dot)[N], const std::uint8_t* q, const q8_block* const (&x)[N]) {
  if constexpr (is_wide(Type))
    dot_wide<Type, First, Steps, N>(dot, q, x);
  else
    dot_narrow<Type, First, Steps, N>(dot, q, x);
}

}  // namespace
}  // namespace dlls::kernels

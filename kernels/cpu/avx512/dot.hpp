// Integer products for AVX-512 with VNNI: vpdpbusd multiplies 64 pairs of bytes and adds them by
// fours to sixteen sums of 32 bits, which no sum of 32 columns can exceed.
#pragma once
#include "kernels/backend.hpp"
#include "kernels/cpu/avx512/lanes.hpp"
#include "kernels/cpu/simd/numbers.hpp"

namespace dlls::kernels {
namespace {

using words = unsigned short __attribute__((vector_size(64)));

template <element Type>
constexpr std::size_t rows_at_once = 8;
constexpr std::size_t prefetch_bytes = 4096;

[[gnu::always_inline]] inline __m512i four_everywhere(const std::int8_t* q) {
  int bits;
  std::memcpy(&bits, q, 4);
  return _mm512_set1_epi32(bits);
}

template <element Type>
[[gnu::always_inline]] inline __m512i weights_at(const std::uint8_t* q, unsigned step) {
  const auto bytes = reinterpret_cast<__m512i>(step_bytes<Type, words>(q, step, 0));
  if constexpr (!packing_of(Type).codebook) return bytes;
  const auto* book = reinterpret_cast<const __m128i*>(iq4_bytes.value);
  return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(_mm_loadu_si128(book)), bytes);
}

// Two sums a row when there is but one, so that the additions don't wait for one another.
template <element Type, unsigned First, unsigned Steps, std::size_t N>
[[gnu::always_inline]] inline void dot_steps(
    lanes (&dot)[N], const std::uint8_t* q, const q8_block* const (&x)[N]) {
  constexpr std::size_t ways = N == 1 ? 2 : 1;
  __m512i sum[ways][N];
#pragma GCC unroll 2
  for (std::size_t w = 0; w < ways; ++w)
#pragma GCC unroll 16
    for (std::size_t i = 0; i < N; ++i) sum[w][i] = _mm512_setzero_si512();
#pragma GCC unroll 8
  for (unsigned s = First; s < First + Steps; ++s) {
    const __m512i w = weights_at<Type>(q, s);
#pragma GCC unroll 16
    for (std::size_t i = 0; i < N; ++i)
      sum[s % ways][i] = _mm512_dpbusd_epi32(sum[s % ways][i], w, four_everywhere(x[i]->q + 4 * s));
  }
#pragma GCC unroll 16
  for (std::size_t i = 0; i < N; ++i) {
    const __m512i all = ways == 2 ? _mm512_add_epi32(sum[0][i], sum[ways - 1][i]) : sum[0][i];
    dot[i] = {_mm512_cvtepi32_ps(all)};
  }
}

}  // namespace
}  // namespace dlls::kernels

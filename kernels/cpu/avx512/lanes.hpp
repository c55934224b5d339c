// Sixteen floats at a time in one AVX-512 register. See kernels/cpu/avx2/lanes.hpp.
#pragma once
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

namespace dlls::kernels {
namespace {

#define DLLS_LANES [[gnu::always_inline]] static inline

struct lanes {
  __m512 v;
  static constexpr std::size_t registers = 32, registers_each = 1;
  static constexpr std::size_t tile_rows = 12;  // activation rows that fit in registers

  DLLS_LANES lanes all(float x) { return {_mm512_set1_ps(x)}; }
  DLLS_LANES lanes load(const float* p) { return {_mm512_loadu_ps(p)}; }
  DLLS_LANES lanes load_half(const std::uint16_t* p) {
    return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
  }
  DLLS_LANES lanes load_bfloat(const std::uint16_t* p) {
    const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16))};
  }
  // Sixteen unsigned bytes as numbers.
  DLLS_LANES lanes from_bytes(__m128i bytes) {
    return {_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes))};
  }
  DLLS_LANES lanes from_signed_bytes(__m128i bytes) {
    return {_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes))};
  }
  DLLS_LANES void store(float* p, lanes x) { _mm512_storeu_ps(p, x.v); }
  DLLS_LANES void store_half(std::uint16_t* p, lanes x) {
    constexpr int nearest = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtps_ph(x.v, nearest));
  }
  // Whole numbers in [-128, 127] as 32 bytes.
  DLLS_LANES void store_bytes(std::int8_t* p, lanes a, lanes b) {
    auto* at = reinterpret_cast<__m128i*>(p);
    _mm_storeu_si128(at, _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(a.v)));
    _mm_storeu_si128(at + 1, _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(b.v)));
  }
  DLLS_LANES lanes add(lanes a, lanes b) { return {_mm512_add_ps(a.v, b.v)}; }
  DLLS_LANES lanes sub(lanes a, lanes b) { return {_mm512_sub_ps(a.v, b.v)}; }
  DLLS_LANES lanes mul(lanes a, lanes b) { return {_mm512_mul_ps(a.v, b.v)}; }
  DLLS_LANES lanes div(lanes a, lanes b) { return {_mm512_div_ps(a.v, b.v)}; }
  DLLS_LANES lanes max(lanes a, lanes b) { return {_mm512_max_ps(a.v, b.v)}; }
  DLLS_LANES lanes min(lanes a, lanes b) { return {_mm512_min_ps(a.v, b.v)}; }
  // a * b + c, once rounded.
  DLLS_LANES lanes fma(lanes a, lanes b, lanes c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
  DLLS_LANES lanes absolute(lanes a) { return {_mm512_abs_ps(a.v)}; }
  DLLS_LANES lanes round(lanes a) {
    constexpr int nearest = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
    return {_mm512_roundscale_ps(a.v, nearest)};
  }
  // a * 2^n for whole n.
  DLLS_LANES lanes scale_by_power(lanes a, lanes n) { return {_mm512_scalef_ps(a.v, n.v)}; }
  // Even lanes a - b, odd lanes a + b.
  DLLS_LANES lanes sub_add(lanes a, lanes b) {
    return {_mm512_fmaddsub_ps(a.v, _mm512_set1_ps(1.0f), b.v)};
  }
  DLLS_LANES lanes evens_twice(lanes a) { return {_mm512_moveldup_ps(a.v)}; }
  DLLS_LANES lanes odds_twice(lanes a) { return {_mm512_movehdup_ps(a.v)}; }
  DLLS_LANES lanes swap_pairs(lanes a) { return {_mm512_permute_ps(a.v, 0xB1)}; }
  DLLS_LANES float sum(lanes a) { return _mm512_reduce_add_ps(a.v); }
  DLLS_LANES float largest(lanes a) { return _mm512_reduce_max_ps(a.v); }
};

}  // namespace
}  // namespace dlls::kernels

// Sixteen floats at a time in two AVX2 registers. kernels/cpu/simd/ is written on it.
#pragma once
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

namespace dlls::kernels {
namespace {

#define DLLS_LANES [[gnu::always_inline]] static inline

struct lanes {
  __m256 lo, hi;
  static constexpr std::size_t registers = 16, registers_each = 2;
  static constexpr std::size_t tile_rows = 6;  // activation rows that fit in registers

  DLLS_LANES lanes all(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
  DLLS_LANES lanes load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
  DLLS_LANES lanes load_half(const std::uint16_t* p) {
    return {
        _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))),
        _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 8)))};
  }
  DLLS_LANES lanes load_bfloat(const std::uint16_t* p) { return {bfloats(p), bfloats(p + 8)}; }
  // Sixteen unsigned bytes as numbers.
  DLLS_LANES lanes from_bytes(__m128i bytes) {
    return {
        _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes)),
        _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_srli_si128(bytes, 8)))};
  }
  DLLS_LANES lanes from_signed_bytes(__m128i bytes) {
    return {
        _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes)),
        _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(bytes, 8)))};
  }
  DLLS_LANES void store(float* p, lanes x) {
    _mm256_storeu_ps(p, x.lo), _mm256_storeu_ps(p + 8, x.hi);
  }
  DLLS_LANES void store_half(std::uint16_t* p, lanes x) {
    constexpr int nearest = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_cvtps_ph(x.lo, nearest));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p + 8), _mm256_cvtps_ph(x.hi, nearest));
  }
  // Whole numbers in [-128, 127] as 32 bytes.
  DLLS_LANES void store_bytes(std::int8_t* p, lanes a, lanes b) {
    const __m256i ab = _mm256_packs_epi32(_mm256_cvtps_epi32(a.lo), _mm256_cvtps_epi32(a.hi));
    const __m256i cd = _mm256_packs_epi32(_mm256_cvtps_epi32(b.lo), _mm256_cvtps_epi32(b.hi));
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);  // packs work by halves
    _mm256_storeu_si256(
        reinterpret_cast<__m256i*>(p),
        _mm256_permutevar8x32_epi32(_mm256_packs_epi16(ab, cd), order));
  }
  DLLS_LANES lanes add(lanes a, lanes b) {
    return {_mm256_add_ps(a.lo, b.lo), _mm256_add_ps(a.hi, b.hi)};
  }
  DLLS_LANES lanes sub(lanes a, lanes b) {
    return {_mm256_sub_ps(a.lo, b.lo), _mm256_sub_ps(a.hi, b.hi)};
  }
  DLLS_LANES lanes mul(lanes a, lanes b) {
    return {_mm256_mul_ps(a.lo, b.lo), _mm256_mul_ps(a.hi, b.hi)};
  }
  DLLS_LANES lanes div(lanes a, lanes b) {
    return {_mm256_div_ps(a.lo, b.lo), _mm256_div_ps(a.hi, b.hi)};
  }
  DLLS_LANES lanes max(lanes a, lanes b) {
    return {_mm256_max_ps(a.lo, b.lo), _mm256_max_ps(a.hi, b.hi)};
  }
  DLLS_LANES lanes min(lanes a, lanes b) {
    return {_mm256_min_ps(a.lo, b.lo), _mm256_min_ps(a.hi, b.hi)};
  }
  // a * b + c, once rounded.
  DLLS_LANES lanes fma(lanes a, lanes b, lanes c) {
    return {_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi)};
  }
  DLLS_LANES lanes absolute(lanes a) {
    const __m256 sign = _mm256_set1_ps(-0.0f);
    return {_mm256_andnot_ps(sign, a.lo), _mm256_andnot_ps(sign, a.hi)};
  }
  DLLS_LANES lanes round(lanes a) {
    constexpr int nearest = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
    return {_mm256_round_ps(a.lo, nearest), _mm256_round_ps(a.hi, nearest)};
  }
  // a * 2^n for whole n in [-126, 127].
  DLLS_LANES lanes scale_by_power(lanes a, lanes n) {
    return {scale_by_power(a.lo, n.lo), scale_by_power(a.hi, n.hi)};
  }
  // Even lanes a - b, odd lanes a + b.
  DLLS_LANES lanes sub_add(lanes a, lanes b) {
    return {_mm256_addsub_ps(a.lo, b.lo), _mm256_addsub_ps(a.hi, b.hi)};
  }
  DLLS_LANES lanes evens_twice(lanes a) {
    return {_mm256_moveldup_ps(a.lo), _mm256_moveldup_ps(a.hi)};
  }
  DLLS_LANES lanes odds_twice(lanes a) {
    return {_mm256_movehdup_ps(a.lo), _mm256_movehdup_ps(a.hi)};
  }
  DLLS_LANES lanes swap_pairs(lanes a) {
    return {_mm256_permute_ps(a.lo, 0xB1), _mm256_permute_ps(a.hi, 0xB1)};
  }
  DLLS_LANES float sum(lanes a) {
    const __m256 s = _mm256_add_ps(a.lo, a.hi);
    __m128 q = _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
    q = _mm_add_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_add_ss(q, _mm_movehdup_ps(q)));
  }
  DLLS_LANES float largest(lanes a) {
    const __m256 s = _mm256_max_ps(a.lo, a.hi);
    __m128 q = _mm_max_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
    q = _mm_max_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_max_ss(q, _mm_movehdup_ps(q)));
  }

 private:
  DLLS_LANES __m256 bfloats(const std::uint16_t* p) {
    const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
  }
  DLLS_LANES __m256 scale_by_power(__m256 a, __m256 n) {
    const __m256i bits =
        _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23);
    return _mm256_mul_ps(a, _mm256_castsi256_ps(bits));
  }
};

}  // namespace
}  // namespace dlls::kernels

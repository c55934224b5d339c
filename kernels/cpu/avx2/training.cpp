// Training operations on 8 floats at a time: AVX2 and FMA.
#include <immintrin.h>

#include "kernels/cpu/training_attention.hpp"
#include "kernels/cpu/training_tables.hpp"

namespace dlls::kernels::cpu {
namespace {

struct vec {
  using reg = __m256;
  static constexpr std::size_t width = 8;
  static constexpr std::size_t product_columns = 3;  // 4 x 3 sums, 3 of B and 1 of A: 16 registers

  static reg zero() { return _mm256_setzero_ps(); }
  static reg set(float x) { return _mm256_set1_ps(x); }
  static reg load(const float* p) { return _mm256_loadu_ps(p); }
  static void store(float* p, reg x) { _mm256_storeu_ps(p, x); }
  static __m256i first(std::size_t lanes) {
    const __m256i index = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(int(lanes)), index);
  }
  static reg load_some(const float* p, std::size_t lanes) {
    return _mm256_maskload_ps(p, first(lanes));
  }
  static void store_some(float* p, reg x, std::size_t lanes) {
    _mm256_maskstore_ps(p, first(lanes), x);
  }
  static reg keep(reg x, std::size_t lanes) {
    return _mm256_and_ps(x, _mm256_castsi256_ps(first(lanes)));
  }
  static reg add(reg a, reg b) { return _mm256_add_ps(a, b); }
  static reg sub(reg a, reg b) { return _mm256_sub_ps(a, b); }
  static reg mul(reg a, reg b) { return _mm256_mul_ps(a, b); }
  static reg div(reg a, reg b) { return _mm256_div_ps(a, b); }
  static reg sqrt(reg a) { return _mm256_sqrt_ps(a); }
  static reg max(reg a, reg b) { return _mm256_max_ps(a, b); }
  static reg fma(reg a, reg b, reg c) { return _mm256_fmadd_ps(a, b, c); }    // a b + c
  static reg fnma(reg a, reg b, reg c) { return _mm256_fnmadd_ps(a, b, c); }  // c - a b

  static float sum(reg x) {
    __m128 half = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    half = _mm_add_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_add_ss(half, _mm_movehdup_ps(half)));
  }
  static float largest(reg x) {
    __m128 half = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    half = _mm_max_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_max_ss(half, _mm_movehdup_ps(half)));
  }

  // Pairs (a, b) turned by the angle whose cosine and sine alternate in `angles`.
  static reg rotate(reg x, reg angles, reg sign) {
    const reg sine = _mm256_mul_ps(_mm256_movehdup_ps(angles), sign);
    const reg swapped = _mm256_permute_ps(x, 0xB1);
    return _mm256_fmaddsub_ps(x, _mm256_moveldup_ps(angles), _mm256_mul_ps(swapped, sine));
  }

  // 2^n e^r with |r| <= ln 2 / 2 and a polynomial for e^r (Cephes, expf): within 2 units in the
  // last place of the true value; what underflows becomes 1e-38. The operands' order keeps NaN.
  static reg exp(reg x) {
    x = _mm256_max_ps(set(-87.3F), _mm256_min_ps(set(88.0F), x));
    const reg n = _mm256_round_ps(
        _mm256_mul_ps(x, set(1.44269504F)), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    const reg r = fnma(n, set(-2.12194440e-4F), fnma(n, set(0.693359375F), x));
    reg p = fma(set(1.9875691500e-4F), r, set(1.3981999507e-3F));
    p = fma(p, r, set(8.3334519073e-3F));
    p = fma(p, r, set(4.1665795894e-2F));
    p = fma(p, r, set(1.6666665459e-1F));
    p = fma(p, r, set(5.0000001201e-1F));
    p = add(fma(p, mul(r, r), r), set(1.0F));
    const __m256i power = _mm256_slli_epi32(_mm256_cvtps_epi32(n), 23);
    return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(p), power));
  }
};

constexpr training_ops<float> table = {
    "avx2",
    training_simd<vec>::rms_norm,
    training_simd<vec>::rms_norm_backward,
    training_simd<vec>::rope,
    attention_simd<vec>::forward,
    attention_simd<vec>::backward,
    attention_simd<vec>::scratch_values,
    training_simd<vec>::swiglu,
    training_simd<vec>::swiglu_backward,
    training_simd<vec>::cross_entropy,
    training_simd<vec>::adamw,
    training_simd<vec>::sum_of_squares,
    training_simd<vec>::add,
    training_gemm,
};

}  // namespace

const training_ops<float>& training_avx2() { return table; }

}  // namespace dlls::kernels::cpu

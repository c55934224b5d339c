// Training operations on 16 floats at a time: AVX-512.
// GCC 12 takes the deliberately undefined operands inside its own AVX-512 intrinsics for a mistake
// (bug 105593).
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#include <immintrin.h>

#include "kernels/cpu/training_attention.hpp"
#include "kernels/cpu/training_tables.hpp"

namespace dlls::kernels::cpu {
namespace {

struct vec {
  using reg = __m512;
  static constexpr std::size_t width = 16;
  static constexpr std::size_t product_columns =
      4;  // 4 x 4 sums, 4 of B and 1 of A of 32 registers

  static reg zero() { return _mm512_setzero_ps(); }
  static reg set(float x) { return _mm512_set1_ps(x); }
  static reg load(const float* p) { return _mm512_loadu_ps(p); }
  static void store(float* p, reg x) { _mm512_storeu_ps(p, x); }
  static __mmask16 first(std::size_t lanes) { return __mmask16((1U << lanes) - 1U); }
  static reg load_some(const float* p, std::size_t lanes) {
    return _mm512_maskz_loadu_ps(first(lanes), p);
  }
  static void store_some(float* p, reg x, std::size_t lanes) {
    _mm512_mask_storeu_ps(p, first(lanes), x);
  }
  static reg keep(reg x, std::size_t lanes) { return _mm512_maskz_mov_ps(first(lanes), x); }
  static reg add(reg a, reg b) { return _mm512_add_ps(a, b); }
  static reg sub(reg a, reg b) { return _mm512_sub_ps(a, b); }
  static reg mul(reg a, reg b) { return _mm512_mul_ps(a, b); }
  static reg div(reg a, reg b) { return _mm512_div_ps(a, b); }
  static reg sqrt(reg a) { return _mm512_sqrt_ps(a); }
  static reg max(reg a, reg b) { return _mm512_max_ps(a, b); }
  static reg fma(reg a, reg b, reg c) { return _mm512_fmadd_ps(a, b, c); }    // a b + c
  static reg fnma(reg a, reg b, reg c) { return _mm512_fnmadd_ps(a, b, c); }  // c - a b

  static float sum(reg x) { return _mm512_reduce_add_ps(x); }
  static float largest(reg x) { return _mm512_reduce_max_ps(x); }

  // Pairs (a, b) turned by the angle whose cosine and sine alternate in `angles`.
  static reg rotate(reg x, reg angles, reg sign) {
    const reg sine = _mm512_mul_ps(_mm512_movehdup_ps(angles), sign);
    const reg swapped = _mm512_permute_ps(x, 0xB1);
    return _mm512_fmaddsub_ps(x, _mm512_moveldup_ps(angles), _mm512_mul_ps(swapped, sine));
  }

  // 2^n e^r with |r| <= ln 2 / 2 and a polynomial for e^r (Cephes, expf): within 2 units in the
  // last place of the true value; what underflows becomes 1e-38. The operands' order keeps NaN.
  static reg exp(reg x) {
    x = _mm512_max_ps(set(-87.3F), _mm512_min_ps(set(88.0F), x));
    const reg n = _mm512_roundscale_ps(
        _mm512_mul_ps(x, set(1.44269504F)), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    const reg r = fnma(n, set(-2.12194440e-4F), fnma(n, set(0.693359375F), x));
    reg p = fma(set(1.9875691500e-4F), r, set(1.3981999507e-3F));
    p = fma(p, r, set(8.3334519073e-3F));
    p = fma(p, r, set(4.1665795894e-2F));
    p = fma(p, r, set(1.6666665459e-1F));
    p = fma(p, r, set(5.0000001201e-1F));
    p = add(fma(p, mul(r, r), r), set(1.0F));
    const __m512i power = _mm512_slli_epi32(_mm512_cvtps_epi32(n), 23);
    return _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(p), power));
  }
};

constexpr training_ops<float> table = {
    "avx512",
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

const training_ops<float>& training_avx512() { return table; }

}  // namespace dlls::kernels::cpu

// The reference for what happens to one row: norms, rotations, activations, sums.
#pragma once
#include <cmath>
#include <cstdint>

#include "kernels/backend.hpp"

namespace dlls::kernels::scalar {

inline void quantise_q8(q8_block* out, const float* x, std::size_t n) {
  for (std::size_t b = 0; b < n / block_values; ++b, x += block_values) {
    float peak = 0;
    for (std::size_t j = 0; j < block_values; ++j) peak = std::fmax(peak, std::fabs(x[j]));
    const float d = peak / 127.0f, inverse = peak > 0 ? 127.0f / peak : 0.0f;
    int sum[2] = {};
    for (std::size_t j = 0; j < block_values; ++j) {
      const auto q = static_cast<int>(std::nearbyint(x[j] * inverse));
      out[b].q[j] = static_cast<std::int8_t>(q);
      sum[j / 16] += q;
    }
    out[b].d = d;
    out[b].sum = d * static_cast<float>(sum[0] + sum[1]);
    for (int half = 0; half < 2; ++half) out[b].half_sum[half] = d * static_cast<float>(sum[half]);
  }
}

template <class Real>
void rms_norm(Real* out, const Real* x, const Real* weight, std::size_t n, Real eps) {
  Real squares = 0;
  for (std::size_t i = 0; i < n; ++i) squares += x[i] * x[i];
  const Real scale = Real(1) / std::sqrt(squares / Real(n) + eps);
  for (std::size_t i = 0; i < n; ++i) out[i] = x[i] * scale * weight[i];
}

template <class Real>
void rope(Real* x, const Real* table, std::size_t heads, std::size_t head_dim, rope_pairs pairs) {
  const auto half = head_dim / 2;
  for (std::size_t h = 0; h < heads; ++h, x += head_dim) {
    for (std::size_t i = 0; i < half; ++i) {
      const bool adjacent = pairs == rope_pairs::adjacent;
      Real& a = adjacent ? x[2 * i] : x[i];
      Real& b = adjacent ? x[2 * i + 1] : x[i + half];
      const Real c = table[2 * i], s = table[2 * i + 1], a0 = a;
      a = a0 * c - b * s;
      b = a0 * s + b * c;
    }
  }
}

template <class Real>
void swiglu(Real* out, const Real* gate, const Real* up, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) out[i] = gate[i] / (Real(1) + std::exp(-gate[i])) * up[i];
}

template <class Real>
void geglu(Real* out, const Real* gate, const Real* up, std::size_t n) {
  const Real slope = std::sqrt(Real(2) / Real(3.14159265358979323846));
  for (std::size_t i = 0; i < n; ++i) {
    const Real x = gate[i], bend = slope * (x + Real(0.044715) * x * x * x);
    out[i] = x / 2 * (1 + std::tanh(bend)) * up[i];
  }
}

template <class Real>
void add(Real* y, const Real* x, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) y[i] += x[i];
}

template <class Real>
Real largest(const Real* x, std::size_t n) {
  Real peak = x[0];
  for (std::size_t i = 1; i < n; ++i) peak = x[i] > peak ? x[i] : peak;
  return peak;
}

template <class Real>
Real log_sum_exp(const Real* x, std::size_t n) {
  const Real peak = largest(x, n);
  Real sum = 0;
  for (std::size_t i = 0; i < n; ++i) sum += std::exp(x[i] - peak);
  return peak + std::log(sum);
}

template <class Real>
void softmax(Real* x, std::size_t n) {
  const Real peak = largest(x, n);
  Real sum = 0;
  for (std::size_t i = 0; i < n; ++i) sum += x[i] = std::exp(x[i] - peak);
  for (std::size_t i = 0; i < n; ++i) x[i] /= sum;
}

}  // namespace dlls::kernels::scalar

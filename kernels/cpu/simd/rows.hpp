// One row at a time, on lanes (see tile.hpp for how these files are used).
#pragma once
#include <cmath>
#include <cstring>

#include "kernels/backend.hpp"
#include "kernels/cpu/simd/exp.hpp"
#include "kernels/cpu/simd/quantise.hpp"

namespace dlls::kernels {
namespace {

// The last `n` < 16 numbers of a row, filled up.
DLLS_LANES lanes load_rest(const float* p, std::size_t n, float filling) {
  float all[16];
  for (std::size_t i = 0; i < 16; ++i) all[i] = i < n ? p[i] : filling;
  return lanes::load(all);
}
DLLS_LANES void store_rest(float* p, std::size_t n, lanes x) {
  float all[16];
  lanes::store(all, x);
  for (std::size_t i = 0; i < n; ++i) p[i] = all[i];
}

void rms_norm_row(float* out, const float* x, const float* weight, std::size_t n, float eps) {
  const auto whole = n / 16 * 16;
  lanes squares[2] = {lanes::all(0), lanes::all(0)};
  std::size_t i = 0;
  for (; i + 32 <= whole; i += 32) {
    const lanes a = lanes::load(x + i), b = lanes::load(x + i + 16);
    squares[0] = lanes::fma(a, a, squares[0]);
    squares[1] = lanes::fma(b, b, squares[1]);
  }
  for (; i < n; i += 16) {
    const lanes a = i < whole ? lanes::load(x + i) : load_rest(x + i, n - i, 0);
    squares[0] = lanes::fma(a, a, squares[0]);
  }
  const float mean = lanes::sum(lanes::add(squares[0], squares[1])) / static_cast<float>(n);
  const float scale = 1.0f / __builtin_sqrtf(mean + eps);
  for (i = 0; i < whole; i += 16)
    lanes::store(
        out + i,
        lanes::mul(lanes::mul(lanes::load(x + i), lanes::all(scale)), lanes::load(weight + i)));
  for (; i < n; ++i) out[i] = x[i] * scale * weight[i];
}

void rope_row(
    float* x, const float* table, std::size_t heads, std::size_t head_dim, rope_pairs pairs) {
  const auto half = head_dim / 2;
  for (std::size_t h = 0; h < heads; ++h, x += head_dim) {
    std::size_t i = 0;
    if (pairs == rope_pairs::adjacent) {
      for (; i + 16 <= head_dim; i += 16) {
        const lanes a = lanes::load(x + i), turn = lanes::load(table + i);
        const lanes crossed = lanes::mul(lanes::swap_pairs(a), lanes::odds_twice(turn));
        lanes::store(x + i, lanes::sub_add(lanes::mul(a, lanes::evens_twice(turn)), crossed));
      }
      i /= 2;
    }
    for (; i < half; ++i) {
      const bool adjacent = pairs == rope_pairs::adjacent;
      float& a = adjacent ? x[2 * i] : x[i];
      float& b = adjacent ? x[2 * i + 1] : x[i + half];
      const float c = table[2 * i], s = table[2 * i + 1], a0 = a;
      a = a0 * c - b * s;
      b = a0 * s + b * c;
    }
  }
}

DLLS_LANES lanes swiglu_of(lanes gate, lanes up) {
  const lanes one = lanes::all(1.0f);
  const lanes negative = lanes::sub(lanes::all(0), gate);
  return lanes::mul(lanes::div(gate, lanes::add(one, exp(negative))), up);
}

void swiglu_row(float* out, const float* gate, const float* up, std::size_t n) {
  std::size_t i = 0;
  for (; i + 16 <= n; i += 16)
    lanes::store(out + i, swiglu_of(lanes::load(gate + i), lanes::load(up + i)));
  if (i < n)
    store_rest(
        out + i, n - i, swiglu_of(load_rest(gate + i, n - i, 0), load_rest(up + i, n - i, 0)));
}

// x/2 (1 + tanh(u)) is x / (1 + exp(-2u)).
DLLS_LANES lanes geglu_of(lanes gate, lanes up) {
  const lanes one = lanes::all(1.0f);
  const lanes cubic = lanes::fma(lanes::mul(gate, gate), lanes::all(0.044715f), one);
  const lanes twice = lanes::mul(lanes::mul(gate, cubic), lanes::all(-1.5957691216f));
  return lanes::mul(lanes::div(gate, lanes::add(one, exp(twice))), up);
}

void geglu_row(float* out, const float* gate, const float* up, std::size_t n) {
  std::size_t i = 0;
  for (; i + 16 <= n; i += 16)
    lanes::store(out + i, geglu_of(lanes::load(gate + i), lanes::load(up + i)));
  if (i < n)
    store_rest(
        out + i, n - i, geglu_of(load_rest(gate + i, n - i, 0), load_rest(up + i, n - i, 0)));
}

void add_row(float* y, const float* x, std::size_t n) {
  std::size_t i = 0;
  for (; i + 16 <= n; i += 16)
    lanes::store(y + i, lanes::add(lanes::load(y + i), lanes::load(x + i)));
  for (; i < n; ++i) y[i] += x[i];
}

float largest_of(const float* x, std::size_t n) {
  lanes peak = lanes::all(x[0]);
  std::size_t i = 0;
  for (; i + 16 <= n; i += 16) peak = lanes::max(peak, lanes::load(x + i));
  if (i < n) peak = lanes::max(peak, load_rest(x + i, n - i, x[0]));
  return lanes::largest(peak);
}

// The sum in double: a vocabulary has a hundred thousand terms.
float log_sum_exp_row(const float* x, std::size_t n) {
  const float peak = largest_of(x, n);
  double sum = 0;
  std::size_t i = 0;
  while (i < n) {
    lanes part = lanes::all(0);
    const auto stop = n - i < 1024 ? n : i + 1024;
    for (; i + 16 <= stop; i += 16)
      part = lanes::add(part, exp(lanes::sub(lanes::load(x + i), lanes::all(peak))));
    sum += static_cast<double>(lanes::sum(part));
    for (; i < stop; ++i) sum += static_cast<double>(__builtin_expf(x[i] - peak));
  }
  return peak + static_cast<float>(__builtin_log(sum));
}

void softmax_row(float* x, std::size_t n) {
  const float peak = largest_of(x, n);
  lanes parts = lanes::all(0);
  float rest = 0;
  std::size_t i = 0;
  for (; i + 16 <= n; i += 16) {
    const lanes e = exp(lanes::sub(lanes::load(x + i), lanes::all(peak)));
    lanes::store(x + i, e);
    parts = lanes::add(parts, e);
  }
  for (; i < n; ++i) rest += x[i] = __builtin_expf(x[i] - peak);
  const float inverse = 1.0f / (lanes::sum(parts) + rest);
  for (i = 0; i + 16 <= n; i += 16)
    lanes::store(x + i, lanes::mul(lanes::load(x + i), lanes::all(inverse)));
  for (; i < n; ++i) x[i] *= inverse;
}

}  // namespace
}  // namespace dlls::kernels

// The reference for attention: all scores of a row, then the softmax, then the weighted sum.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/backend.hpp"

namespace dlls::kernels::scalar {

template <class Real>
Real kv_number(const kv_view& cache, const std::byte* from, std::size_t index) {
  if (cache.type == element::f32) {
    float value;
    std::memcpy(&value, from + 4 * index, 4);
    return Real(value);
  }
  std::uint16_t bits;
  std::memcpy(&bits, from + 2 * index, 2);
  return Real(from_half(bits));
}

inline void set_kv_number(const kv_view& cache, std::byte* into, std::size_t index, float value) {
  const auto bits = to_half(value);
  if (cache.type == element::f32)
    std::memcpy(into + 4 * index, &value, 4);
  else
    std::memcpy(into + 2 * index, &bits, 2);
}

// Where number i of a position's key, and of its value, lies from keys(...) and values(...) on.
inline std::size_t key_index(const kv_view& c, std::size_t position, std::size_t i) {
  return (position % kv_page_positions / 16 * c.head_dim + i) * 16 + position % 16;
}

inline std::size_t value_index(const kv_view& c, std::size_t position, std::size_t i) {
  return position % kv_page_positions * c.value_stride() + i;
}

inline void kv_store(const kv_view& cache, std::size_t position, const float* k, const float* v) {
  for (std::size_t h = 0; h < cache.kv_heads; ++h) {
    for (std::size_t i = 0; i < cache.head_dim; ++i) {
      const auto from = h * cache.head_dim + i;
      const auto page = position / kv_page_positions;
      set_kv_number(cache, cache.keys(page, h), key_index(cache, position, i), k[from]);
      set_kv_number(cache, cache.values(page, h), value_index(cache, position, i), v[from]);
    }
  }
}

template <class Real>
void attend(const attend_range<Real>& range) {
  const auto& c = *range.cache;
  const Real scale = Real(1) / std::sqrt(Real(c.head_dim));
  for (auto r = range.row_begin; r < range.row_end; ++r) {
    const auto token = r / range.group;
    const Real* q = range.q + token * range.q_stride + r % range.group * c.head_dim;
    const auto end = std::min(range.end, range.first + token + 1);
    Real* out = range.out + (r - range.row_begin) * c.value_stride();
    std::fill_n(out, c.value_stride(), Real(0));
    const auto score = [&](std::size_t p) {
      const auto* keys = c.keys(p / kv_page_positions, range.kv_head);
      Real dot = 0;
      for (std::size_t i = 0; i < c.head_dim; ++i)
        dot += q[i] * kv_number<Real>(c, keys, key_index(c, p, i));
      return dot * scale;
    };
    const auto begin = std::max(range.begin, range.first_seen(r));
    Real peak = -INFINITY, sum = 0;
    for (auto p = begin; p < end; ++p) peak = std::max(peak, score(p));
    for (auto p = begin; p < end; ++p) {
      const Real weight = std::exp(score(p) - peak);
      const auto* values = c.values(p / kv_page_positions, range.kv_head);
      sum += weight;
      for (std::size_t i = 0; i < c.head_dim; ++i)
        out[i] += weight * kv_number<Real>(c, values, value_index(c, p, i));
    }
    range.peak[r - range.row_begin] = peak;
    range.sum[r - range.row_begin] = sum;
  }
}

}  // namespace dlls::kernels::scalar

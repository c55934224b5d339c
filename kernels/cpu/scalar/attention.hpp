// The reference for attention: all scores of a row, then the softmax, then the weighted sum.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/backend.hpp"
#include "kernels/cpu/scalar/matmul.hpp"
#include "kernels/cpu/scalar/rows.hpp"

namespace dlls::kernels::scalar {

// Where number i of a position's key, and of its value, lies from keys(...) and values(...) on.
// Not with q8_0.
inline std::size_t key_index(std::size_t position, std::size_t i) {
  return i * kv_page_positions + position % kv_page_positions;
}

inline std::size_t value_index(const kv_view& c, std::size_t position, std::size_t i) {
  return position % kv_page_positions * c.value_stride() + i;
}

// One page's keys of one head as q8_0 weights: a row a position.
inline packed_matrix key_panels(const kv_view& c, const std::byte* keys) {
  return {element::q8_0, kv_page_positions, c.head_dim, keys};
}

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

template <class Real>
Real value_number(const kv_view& c, const std::byte* values, std::size_t position, std::size_t i) {
  if (c.type != element::q8_0) return kv_number<Real>(c, values, value_index(c, position, i));
  const auto row = position % kv_page_positions;
  std::uint16_t d;
  std::memcpy(&d, values + c.value_scale_offset(i / block_values) + 2 * row, 2);
  return Real(from_half(d)) * Real(static_cast<std::int8_t>(values[row * c.head_dim + i]));
}

inline void set_kv_number(const kv_view& cache, std::byte* into, std::size_t index, float value) {
  const auto bits = to_half(value);
  if (cache.type == element::f32)
    std::memcpy(into + 4 * index, &value, 4);
  else
    std::memcpy(into + 2 * index, &bits, 2);
}

// 32 numbers of a position's key, and of its value.
inline void set_kv_block(
    const kv_view& c, std::size_t head, std::size_t position, std::size_t b, const float* k,
    const float* v) {
  const auto page = position / kv_page_positions, row = position % kv_page_positions;
  q8_block key, value;
  quantise_q8(&key, k, block_values);
  quantise_q8(&value, v, block_values);
  const std::uint16_t d[] = {to_half(key.d), to_half(value.d)};
  constexpr auto form = packing_of(element::q8_0);
  auto* panel = c.keys(page, head) + row / 16 * panel_bytes_of(c.type, c.head_dim);
  auto* block = panel + b * form.bytes();
  std::memcpy(block + row % 16 * 2, &d[0], 2);
  for (std::size_t i = 0; i < block_values; ++i)
    block[form.head_bytes() + i / 4 * 64 + row % 16 * 4 + i % 4] =
        static_cast<std::byte>(key.q[i] + form.zero);
  auto* values = c.values(page, head);
  std::memcpy(values + row * c.head_dim + b * block_values, value.q, block_values);
  std::memcpy(values + c.value_scale_offset(b) + 2 * row, &d[1], 2);
}

inline void kv_store(const kv_view& cache, std::size_t position, const float* k, const float* v) {
  for (std::size_t h = 0; h < cache.kv_heads; ++h) {
    for (std::size_t i = 0; i < cache.head_dim; ++i) {
      const auto from = h * cache.head_dim + i;
      if (cache.type == element::q8_0) {
        if (i % block_values == 0)
          set_kv_block(cache, h, position, i / block_values, k + from, v + from);
        continue;
      }
      const auto page = position / kv_page_positions;
      set_kv_number(cache, cache.keys(page, h), key_index(position, i), k[from]);
      set_kv_number(cache, cache.values(page, h), value_index(cache, position, i), v[from]);
    }
  }
}

// A row's query: as it is, or quantised like the keys that it meets.
template <class Real>
class query {
 public:
  query(const kv_view& c, const Real* q) : c_(c), q_(q) {
    if (c.type != element::q8_0) return;
    float scaled[head_dim_max];
    const float scale = 1.0f / std::sqrt(static_cast<float>(c.head_dim));
    for (std::size_t i = 0; i < c.head_dim; ++i) scaled[i] = static_cast<float>(q[i]) * scale;
    quantise_q8(q8_, scaled, c.head_dim);
  }

  Real score(std::size_t head, std::size_t position) const {
    const auto* keys = c_.keys(position / kv_page_positions, head);
    if (c_.type == element::q8_0) return integer_score(keys, position % kv_page_positions);
    Real dot = 0;
    for (std::size_t i = 0; i < c_.head_dim; ++i)
      dot += q_[i] * kv_number<Real>(c_, keys, key_index(position, i));
    return dot * (Real(1) / std::sqrt(Real(c_.head_dim)));
  }

 private:
  Real integer_score(const std::byte* keys, std::size_t row) const {
    Real sum = 0;
    for (std::size_t b = 0; b < c_.head_dim / block_values; ++b) {
      const auto block = block_at(key_panels(c_, keys), row, b * block_values);
      int dot = 0;
      for (std::size_t i = 0; i < block_values; ++i) dot += block.value(i) * q8_[b].q[i];
      sum += block.template scale<Real>(0) * Real(q8_[b].d) * Real(dot);
    }
    return sum;
  }

  const kv_view& c_;
  const Real* q_;
  q8_block q8_[head_dim_max / block_values];
};

template <class Real>
void attend_head(const attend_range<Real>& range, std::size_t head) {
  const auto& c = *range.cache;
  for (auto r = range.row_begin; r < range.row_end; ++r) {
    const auto token = r / range.group;
    const auto at = token * range.q_stride + (head * range.group + r % range.group) * c.head_dim;
    const query<Real> q(c, range.q + at);
    const auto end = std::min(range.end, range.first + token + 1);
    const auto row = head * (range.row_end - range.row_begin) + r - range.row_begin;
    Real* out = range.out + row * c.value_stride();
    std::fill_n(out, c.value_stride(), Real(0));
    const auto begin = std::max(range.begin, range.first_seen(r)), kv_head = range.kv_head + head;
    Real peak = -INFINITY, sum = 0;
    for (auto p = begin; p < end; ++p) peak = std::max(peak, q.score(kv_head, p));
    for (auto p = begin; p < end; ++p) {
      const Real weight = std::exp(q.score(kv_head, p) - peak);
      const auto* values = c.values(p / kv_page_positions, kv_head);
      sum += weight;
      for (std::size_t i = 0; i < c.head_dim; ++i)
        out[i] += weight * value_number<Real>(c, values, p, i);
    }
    range.peak[row] = peak;
    range.sum[row] = sum;
  }
}

template <class Real>
void attend(const attend_range<Real>& range) {
  for (std::size_t head = 0; head < range.kv_heads; ++head) attend_head(range, head);
}

}  // namespace dlls::kernels::scalar

// Attention over a block of positions at a time, on lanes (see tile.hpp). Keys lie sixteen
// positions to a panel, so scores are the same tile as any other product; so is weights x values.
#pragma once
#include <cmath>
#include <cstring>

#include "kernels/backend.hpp"
#include "kernels/cpu/simd/exp.hpp"
#include "kernels/cpu/simd/tile.hpp"

namespace dlls::kernels {
namespace {

// What one call works on; on the stack, about 110 KB.
struct attend_state {
  alignas(64) float q[attend_rows_max * head_dim_max];  // (rows, head_dim), scaled
  alignas(64) float score[attend_rows_max * kv_page_positions];
};

std::size_t larger(std::size_t a, std::size_t b) { return a < b ? b : a; }

void gather_queries(const attend_range<float>& a, float* q) {
  const auto dim = a.cache->head_dim;
  const float scale = 1.0f / __builtin_sqrtf(static_cast<float>(dim));
  for (auto r = a.row_begin; r < a.row_end; ++r, q += dim) {
    const float* from = a.q + r / a.group * a.q_stride + r % a.group * dim;
    for (std::size_t i = 0; i < dim; ++i) q[i] = from[i] * scale;
  }
}

// Turns one row's scores of positions [from, seen) into weights against the row's running peak; the
// rest of the block weighs nothing (exp gives 1e-38 for it). Returns by what older weights shrink.
float weigh(float* score, std::size_t from, std::size_t seen, float& peak, float& sum) {
  if (from >= seen) {
    std::memset(score, 0, kv_page_positions * sizeof(float));
    return 1.0f;
  }
  for (std::size_t i = 0; i < from; ++i) score[i] = -INFINITY;
  for (auto i = seen; i < kv_page_positions; ++i) score[i] = -INFINITY;
  lanes most = lanes::load(score);
  for (std::size_t i = 16; i < kv_page_positions; i += 16)
    most = lanes::max(most, lanes::load(score + i));
  const float new_peak = __builtin_fmaxf(peak, lanes::largest(most));
  lanes total = lanes::all(0);
  for (std::size_t i = 0; i < kv_page_positions; i += 16) {
    const lanes e = exp(lanes::sub(lanes::load(score + i), lanes::all(new_peak)));
    lanes::store(score + i, e);
    total = lanes::add(total, e);
  }
  const float shrink = peak == -INFINITY ? 0.0f : __builtin_expf(peak - new_peak);
  sum = sum * shrink + lanes::sum(total);
  peak = new_peak;
  return shrink;
}

void scale_row(float* out, std::size_t n, float by) {
  for (std::size_t i = 0; i < n; i += 16)
    lanes::store(out + i, lanes::mul(lanes::load(out + i), lanes::all(by)));
}

template <class Load>
void attend_blocks(const attend_range<float>& a, attend_state& state) {
  using number = typename Load::number;
  const auto& c = *a.cache;
  const auto rows = a.row_end - a.row_begin, stride = c.value_stride();
  const auto first_page = a.first_seen(a.row_begin) / kv_page_positions * kv_page_positions;
  for (auto p = larger(a.begin, first_page); p < a.end; p += kv_page_positions) {
    const auto page = p / kv_page_positions;
    const auto* keys = reinterpret_cast<const number*>(c.keys(page, a.kv_head));
    const auto* values = reinterpret_cast<const number*>(c.values(page, a.kv_head));
    const auto block = smaller(kv_page_positions, a.end - p);
    tile<Load>(
        {state.score, kv_page_positions, kv_page_positions, false}, {keys, 16, 16 * c.head_dim},
        (block + 15) / 16, state.q, c.head_dim, c.head_dim, rows);
    for (std::size_t r = 0; r < rows; ++r) {
      const auto own = a.first + (a.row_begin + r) / a.group;  // the row's position
      const auto seen = own < p ? 0 : smaller(block, own - p + 1);
      const auto from = larger(p, a.first_seen(a.row_begin + r)) - p;
      const float shrink =
          weigh(state.score + r * kv_page_positions, from, seen, a.peak[r], a.sum[r]);
      if (shrink != 1.0f) scale_row(a.out + r * stride, stride, shrink);
    }
    tile<Load>(
        {a.out, stride, stride, true}, {values, stride, 16}, stride / 16, state.score,
        kv_page_positions, block, rows);
  }
}

void attend_rows(const attend_range<float>& a) {
  attend_state state;
  gather_queries(a, state.q);
  const auto rows = a.row_end - a.row_begin;
  std::memset(a.out, 0, rows * a.cache->value_stride() * sizeof(float));
  for (std::size_t r = 0; r < rows; ++r) a.peak[r] = -INFINITY, a.sum[r] = 0;
  if (a.cache->type == element::f32)
    attend_blocks<load_f32>(a, state);
  else
    attend_blocks<load_f16>(a, state);
}

void store_numbers(float* into, const float* from, std::size_t n, std::size_t step) {
  for (std::size_t i = 0; i < n; ++i) into[i * step] = from[i];
}

void store_numbers(std::uint16_t* into, const float* from, std::size_t n, std::size_t step) {
  for (std::size_t i = 0; i < n; i += 16) {
    const auto count = smaller(16, n - i);
    float whole[16] = {};
    std::memcpy(whole, from + i, count * sizeof(float));
    std::uint16_t half[16];
    lanes::store_half(half, lanes::load(whole));
    for (std::size_t j = 0; j < count; ++j) into[(i + j) * step] = half[j];
  }
}

template <class Number>
void kv_store_as(const kv_view& c, std::size_t position, const float* k, const float* v) {
  const auto page = position / kv_page_positions, row = position % kv_page_positions;
  for (std::size_t h = 0; h < c.kv_heads; ++h, k += c.head_dim, v += c.head_dim) {
    auto* key = reinterpret_cast<Number*>(c.keys(page, h)) + row / 16 * 16 * c.head_dim + row % 16;
    auto* value = reinterpret_cast<Number*>(c.values(page, h)) + row * c.value_stride();
    store_numbers(key, k, c.head_dim, 16);
    store_numbers(value, v, c.head_dim, 1);
  }
}

void kv_store_row(const kv_view& c, std::size_t position, const float* k, const float* v) {
  if (c.type == element::f32)
    kv_store_as<float>(c, position, k, v);
  else
    kv_store_as<std::uint16_t>(c, position, k, v);
}

}  // namespace
}  // namespace dlls::kernels

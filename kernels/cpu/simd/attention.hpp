// Attention over a block of positions at a time, on lanes (see tile.hpp). Keys lie sixteen
// positions to a register, so scores are the same tile as any other product; so is weights x
// values.
#pragma once
#include <cmath>
#include <cstring>

#include "kernels/backend.hpp"
#include "kernels/cpu/simd/exp.hpp"
#include "kernels/cpu/simd/q8_tile.hpp"
#include "kernels/cpu/simd/quantise.hpp"
#include "kernels/cpu/simd/tile.hpp"

namespace dlls::kernels {
namespace {

// What one call works on; on the stack, about 90 KB.
struct attend_state {
  alignas(64) float q[attend_rows_max * head_dim_max];  // (rows, head_dim), scaled
  alignas(64) float score[attend_rows_max * kv_page_positions];
  q8_block q8[attend_rows_max * head_dim_max / block_values];     // q, quantised
  alignas(64) float weight[attend_rows_max * kv_page_positions];  // score x the values' scales
};

std::size_t larger(std::size_t a, std::size_t b) { return a < b ? b : a; }

void gather_queries(const attend_range<float>& a, float* q) {
  const auto dim = a.cache->head_dim;
  const float scale = 1.0f / __builtin_sqrtf(static_cast<float>(dim));
  for (std::size_t head = 0; head < a.kv_heads; ++head)
    for (auto r = a.row_begin; r < a.row_end; ++r, q += dim) {
      const auto of_token = head * a.group + r % a.group;
      const float* from = a.q + r / a.group * a.q_stride + of_token * dim;
      for (std::size_t i = 0; i < dim; ++i) q[i] = from[i] * scale;
    }
}

// Turns one row's scores of positions [from, seen) into weights against the row's running peak; the
// rest of the block weighs nothing, which exp would make 1e-38. Returns by what older weights
// shrink.
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
  for (std::size_t i = 0; i < from; ++i) score[i] = 0;
  for (auto i = seen; i < kv_page_positions; ++i) score[i] = 0;
  const float shrink = peak == -INFINITY ? 0.0f : __builtin_expf(peak - new_peak);
  sum = sum * shrink + lanes::sum(total);
  peak = new_peak;
  return shrink;
}

void scale_row(float* out, std::size_t n, float by) {
  for (std::size_t i = 0; i < n; i += 16)
    lanes::store(out + i, lanes::mul(lanes::load(out + i), lanes::all(by)));
}

// One head's part of one page, and the rows that meet it.
struct page_part {
  const std::byte* keys;
  const std::byte* values;
  std::size_t block;  // positions
  std::size_t rows;
  std::size_t first_row;  // in the state's queries
  std::size_t head_dim;
  std::size_t stride;  // of the output's rows
};

// A cache of f32 or f16.
template <class Load>
struct float_pages {
  using number = typename Load::number;

  static void take_queries(attend_state&, std::size_t) {}
  static void score(const page_part& p, attend_state& state) {
    tile<Load>(
        {state.score, kv_page_positions, kv_page_positions, false},
        {reinterpret_cast<const number*>(p.keys), kv_page_positions, 16}, (p.block + 15) / 16,
        state.q + p.first_row * p.head_dim, p.head_dim, p.head_dim, p.rows);
  }
  static void add_values(const page_part& p, attend_state& state, float* out) {
    tile<Load>(
        {out, p.stride, p.stride, true}, {reinterpret_cast<const number*>(p.values), p.stride, 16},
        p.stride / 16, state.score, kv_page_positions, p.block, p.rows);
  }
};

// A cache of q8_0: scores are sums of integer products, values meet weights that their scales are
// multiplied into.
struct q8_pages {
  static void take_queries(attend_state& state, std::size_t numbers) {
    quantise_row(state.q8, state.q, numbers);
  }
  static void score(const page_part& p, attend_state& state) {
    const auto step = panel_bytes_of(element::q8_0, p.head_dim);
    const auto blocks = p.head_dim / block_values;
    for (std::size_t i = 0; i < p.block; i += 16)
      q8_panel<element::q8_0>(
          {state.score + i, kv_page_positions, 16, false}, p.keys + i / 16 * step,
          state.q8 + p.first_row * blocks, blocks, p.rows);
  }
  static void add_values(const page_part& p, attend_state& state, float* out) {
    const auto* q = reinterpret_cast<const std::int8_t*>(p.values);
    const auto* scales =
        reinterpret_cast<const std::uint16_t*>(p.values + kv_page_positions * p.head_dim);
    for (std::size_t i = 0; i < p.stride; i += block_values, scales += kv_page_positions) {
      for (std::size_t j = 0; j < kv_page_positions; j += 16) {
        const lanes d = lanes::load_half(scales + j);
        for (std::size_t r = 0; r < p.rows; ++r) {
          const auto at = r * kv_page_positions + j;
          lanes::store(state.weight + at, lanes::mul(lanes::load(state.score + at), d));
        }
      }
      tile<load_q8>(
          {out + i, p.stride, block_values, true}, {q + i, p.stride, 16}, 2, state.weight,
          kv_page_positions, p.block, p.rows);
    }
  }
};

// One head's rows meet positions [p, p + part.block).
template <class Pages>
void attend_page(
    const attend_range<float>& a, const page_part& part, std::size_t p, attend_state& state) {
  Pages::score(part, state);
  float* const out = a.out + part.first_row * part.stride;
  for (std::size_t r = 0; r < part.rows; ++r) {
    const auto own = a.first + (a.row_begin + r) / a.group;  // the row's position
    const auto seen = own < p ? 0 : smaller(part.block, own - p + 1);
    const auto from = larger(p, a.first_seen(a.row_begin + r)) - p;
    const auto row = part.first_row + r;
    const float shrink =
        weigh(state.score + r * kv_page_positions, from, seen, a.peak[row], a.sum[row]);
    if (shrink != 1.0f) scale_row(out + r * part.stride, part.stride, shrink);
  }
  Pages::add_values(part, state, out);
}

// All heads of a page before the next page: memory is read in long runs.
template <class Pages>
void attend_pages(const attend_range<float>& a, attend_state& state) {
  const auto& c = *a.cache;
  const auto rows = a.row_end - a.row_begin, stride = c.value_stride();
  const auto first_page = a.first_seen(a.row_begin) / kv_page_positions * kv_page_positions;
  Pages::take_queries(state, a.rows() * c.head_dim);
  for (auto p = larger(a.begin, first_page); p < a.end; p += kv_page_positions) {
    const auto page = p / kv_page_positions, block = smaller(kv_page_positions, a.end - p);
    for (std::size_t head = 0; head < a.kv_heads; ++head) {
      const auto* keys = c.keys(page, a.kv_head + head);
      const auto* values = c.values(page, a.kv_head + head);
      attend_page<Pages>(a, {keys, values, block, rows, head * rows, c.head_dim, stride}, p, state);
    }
  }
}

void attend_rows(const attend_range<float>& a) {
  attend_state state;
  gather_queries(a, state.q);
  std::memset(a.out, 0, a.rows() * a.cache->value_stride() * sizeof(float));
  for (std::size_t r = 0; r < a.rows(); ++r) a.peak[r] = -INFINITY, a.sum[r] = 0;
  if (a.cache->type == element::f32)
    attend_pages<float_pages<load_f32>>(a, state);
  else if (a.cache->type == element::q8_0)
    attend_pages<q8_pages>(a, state);
  else
    attend_pages<float_pages<load_f16>>(a, state);
}

}  // namespace
}  // namespace dlls::kernels

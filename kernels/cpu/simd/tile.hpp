// The heart of every float product here: a few rows of x times sixteen columns of b.
//
// Written once on `lanes`; include the instruction set's lanes.hpp first. Everything stands in an
// unnamed namespace, since each instruction set compiles its own copy with its own flags.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/element.hpp"

namespace dlls::kernels {
namespace {

struct load_f32 {
  using number = float;
  DLLS_LANES lanes load(const float* p) { return lanes::load(p); }
};
struct load_f16 {
  using number = std::uint16_t;
  DLLS_LANES lanes load(const std::uint16_t* p) { return lanes::load_half(p); }
};
struct load_bf16 {
  using number = std::uint16_t;
  DLLS_LANES lanes load(const std::uint16_t* p) { return lanes::load_bfloat(p); }
};

// Where a product goes: `width` columns exist.
struct tile_out {
  float* y;
  std::size_t stride;
  std::size_t width;
  bool accumulate;
};

// Sixteen columns of a row, from column `from` on; those that don't exist read as 0. No function is
// called here, lest the sums of a tile be kept in memory instead of registers.
DLLS_LANES lanes load_tile_row(const tile_out& out, std::size_t row, std::size_t from) {
  const float* y = out.y + row * out.stride + from;
  return from + 16 <= out.width ? lanes::load(y) : lanes::load_first(y, out.width - from);
}

DLLS_LANES void store_tile_row(const tile_out& out, std::size_t row, std::size_t from, lanes sum) {
  float* y = out.y + row * out.stride + from;
  if (from + 16 <= out.width)
    lanes::store(y, sum);
  else
    lanes::store_first(y, sum, out.width - from);
}

// Panels of sixteen columns, `step` numbers apart; within one, (k, 16) in rows `stride` apart.
template <class Load>
struct tile_panels {
  const typename Load::number* at;
  std::size_t step;
  std::size_t stride;
  std::size_t count;
};

// y (N, 16 Panels) = x (N, k) b (k, 16 Panels). Each number of y is one chain of multiply-adds in
// the order of k, beginning at what is there when accumulating: it comes out the same whatever N
// and Panels are and wherever k is cut.
template <class Load, std::size_t N, std::size_t Panels>
[[gnu::noinline]] void tile_of(
    const tile_out& out, const tile_panels<Load>& b, std::size_t first, const float* x,
    std::size_t x_stride, std::size_t k) {
  lanes sum[Panels][N];
#pragma GCC unroll 16
  for (std::size_t p = 0; p < Panels; ++p)
#pragma GCC unroll 16
    for (std::size_t i = 0; i < N; ++i)
      sum[p][i] = out.accumulate ? load_tile_row(out, i, 16 * (first + p)) : lanes::all(0);
  const auto* at = b.at + first * b.step;
  for (std::size_t j = 0; j < k; ++j, at += b.stride) {
#pragma GCC unroll 16
    for (std::size_t p = 0; p < Panels; ++p) {
      const lanes column = Load::load(at + p * b.step);
#pragma GCC unroll 16
      for (std::size_t i = 0; i < N; ++i)
        sum[p][i] = lanes::fma(lanes::all(x[i * x_stride + j]), column, sum[p][i]);
      // Each panel fetches x anew: kept, it would push a sum out of the sixteen registers of AVX2.
      if constexpr (N > 1 && Panels > 1) asm("" : : : "memory");
    }
  }
#pragma GCC unroll 16
  for (std::size_t p = 0; p < Panels; ++p)
#pragma GCC unroll 16
    for (std::size_t i = 0; i < N; ++i) store_tile_row(out, i, 16 * (first + p), sum[p][i]);
}

// Panels [first, end) with N rows, `Wide` at once while there are as many.
template <class Load, std::size_t N, std::size_t Wide>
void tile_rows_of(
    const tile_out& out, const tile_panels<Load>& b, std::size_t first, std::size_t end,
    const float* x, std::size_t x_stride, std::size_t k) {
  for (; first + Wide <= end; first += Wide) tile_of<Load, N, Wide>(out, b, first, x, x_stride, k);
  if constexpr (Wide > 1)
    for (; first < end; ++first) tile_of<Load, N, 1>(out, b, first, x, x_stride, k);
}

// Any number of rows with all panels, four at a time. Few rows take several panels at once, so that
// the multiply-adds of one chain don't wait for one another.
template <class Load>
void tile(
    const tile_out& whole, const tile_panels<Load>& b, const float* x, std::size_t x_stride,
    std::size_t k, std::size_t rows) {
  constexpr auto full = lanes::tile_rows;
  for (std::size_t first = 0; first < b.count; first += 4) {
    const auto end = first + 4 < b.count ? first + 4 : b.count;
    auto out = whole;
    const float* at = x;
    for (auto left = rows; left > 0;) {
      const auto taken = left >= full ? full : left >= 6 ? 6 : left >= 3 ? 3 : left;
      switch (taken) {
        case full:
          tile_rows_of<Load, full, 1>(out, b, first, end, at, x_stride, k);
          break;
        case 3:
          tile_rows_of<Load, 3, 2>(out, b, first, end, at, x_stride, k);
          break;
        case 2:
          tile_rows_of<Load, 2, 2>(out, b, first, end, at, x_stride, k);
          break;
        case 1:
          tile_rows_of<Load, 1, 4>(out, b, first, end, at, x_stride, k);
          break;
        default:
          tile_rows_of<Load, 6, 1>(out, b, first, end, at, x_stride, k);
          break;
      }
      left -= taken, at += taken * x_stride, out.y += taken * out.stride;
    }
  }
}

}  // namespace
}  // namespace dlls::kernels

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

// Where a tile goes: `width` of the sixteen columns exist.
struct tile_out {
  float* y;
  std::size_t stride;
  std::size_t width;
  bool accumulate;
};

DLLS_LANES void store_tile_row(const tile_out& out, std::size_t row, lanes sum) {
  float* y = out.y + row * out.stride;
  if (out.width == 16) {
    lanes::store(y, out.accumulate ? lanes::add(sum, lanes::load(y)) : sum);
    return;
  }
  float all[16];
  lanes::store(all, sum);
  for (std::size_t i = 0; i < out.width; ++i) y[i] = all[i] + (out.accumulate ? y[i] : 0.0f);
}

// y (N, 16) = x (N, k) b (k, 16). With few rows, `Ways` sums are kept side by side and k is walked
// in as many steps at once, so that the multiply-adds don't wait for one another.
template <class Load, std::size_t N, std::size_t Ways>
[[gnu::noinline]] void tile_of(
    const tile_out& out, const typename Load::number* b, std::size_t b_stride, const float* x,
    std::size_t x_stride, std::size_t k) {
  lanes sum[Ways][N];
#pragma GCC unroll 16
  for (std::size_t w = 0; w < Ways; ++w)
#pragma GCC unroll 16
    for (std::size_t i = 0; i < N; ++i) sum[w][i] = lanes::all(0);
  std::size_t j = 0;
  for (; j + Ways <= k; j += Ways) {
#pragma GCC unroll 16
    for (std::size_t w = 0; w < Ways; ++w) {
      const lanes column = Load::load(b + (j + w) * b_stride);
#pragma GCC unroll 16
      for (std::size_t i = 0; i < N; ++i)
        sum[w][i] = lanes::fma(lanes::all(x[i * x_stride + j + w]), column, sum[w][i]);
    }
  }
  for (; j < k; ++j) {
    const lanes column = Load::load(b + j * b_stride);
#pragma GCC unroll 16
    for (std::size_t i = 0; i < N; ++i)
      sum[0][i] = lanes::fma(lanes::all(x[i * x_stride + j]), column, sum[0][i]);
  }
#pragma GCC unroll 16
  for (std::size_t i = 0; i < N; ++i) {
    lanes all = sum[0][i];
#pragma GCC unroll 16
    for (std::size_t w = 1; w < Ways; ++w) all = lanes::add(all, sum[w][i]);
    store_tile_row(out, i, all);
  }
}

// The same for any number of rows.
template <class Load>
void tile(
    tile_out out, const typename Load::number* b, std::size_t b_stride, const float* x,
    std::size_t x_stride, std::size_t k, std::size_t rows) {
  constexpr auto full = lanes::tile_rows;
  while (rows > 0) {
    const auto taken = rows >= full ? full : rows >= 6 ? 6 : rows >= 3 ? 3 : rows;
    switch (taken) {
      case full:
        tile_of<Load, full, 1>(out, b, b_stride, x, x_stride, k);
        break;
      case 3:
        tile_of<Load, 3, 2>(out, b, b_stride, x, x_stride, k);
        break;
      case 2:
        tile_of<Load, 2, 2>(out, b, b_stride, x, x_stride, k);
        break;
      case 1:
        tile_of<Load, 1, 4>(out, b, b_stride, x, x_stride, k);
        break;
      default:
        tile_of<Load, 6, 1>(out, b, b_stride, x, x_stride, k);
        break;
    }
    rows -= taken, x += taken * x_stride, out.y += taken * out.stride;
  }
}

}  // namespace
}  // namespace dlls::kernels

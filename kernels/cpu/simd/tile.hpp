// The heart of every float product here: a few rows of x times panels of sixteen columns of b.
//
// Every number of y is one chain of multiply-adds from the first term to the last, however many
// rows and panels are computed side by side: a row's result does not depend on the rows beside it.
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

// std::min is an inline function of the standard library (see kernels/backend.hpp).
constexpr std::size_t smaller(std::size_t a, std::size_t b) { return a < b ? a : b; }

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
// Whole numbers of 8 bits; what they are multiplied by is x's.
struct load_q8 {
  using number = std::int8_t;
  DLLS_LANES lanes load(const std::int8_t* p) {
    return lanes::from_signed_bytes(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
};

// Where a tile goes: `width` of its columns exist.
struct tile_out {
  float* y;
  std::size_t stride;
  std::size_t width;
  bool accumulate;
};

DLLS_LANES void store_tile_row(const tile_out& out, std::size_t row, lanes sum) {
  float* y = out.y + row * out.stride;
  if (out.width >= 16) {
    lanes::store(y, out.accumulate ? lanes::add(sum, lanes::load(y)) : sum);
    return;
  }
  float all[16];
  lanes::store(all, sum);
  for (std::size_t i = 0; i < out.width; ++i) y[i] = all[i] + (out.accumulate ? y[i] : 0.0f);
}

// Some panels of b: each (k, 16), rows `stride` apart; the next panel begins `step` further on.
template <class Load>
struct tile_panels {
  const typename Load::number* b;
  std::size_t stride;
  std::size_t step;
};

// y (N, 16 P) = x (N, k) b (k, 16 P). With few rows several panels are taken side by side, so that
// the multiply-adds don't wait for one another.
template <class Load, std::size_t N, std::size_t P>
[[gnu::noinline]] void tile_of(
    const tile_out& out, const tile_panels<Load>& panels, const float* x, std::size_t x_stride,
    std::size_t k) {
  lanes sum[P][N];
#pragma GCC unroll 16
  for (std::size_t p = 0; p < P; ++p)
#pragma GCC unroll 16
    for (std::size_t i = 0; i < N; ++i) sum[p][i] = lanes::all(0);
  const auto* b = panels.b;
  for (std::size_t j = 0; j < k; ++j, b += panels.stride) {
#pragma GCC unroll 16
    for (std::size_t p = 0; p < P; ++p) {
      const lanes column = Load::load(b + p * panels.step);
      const float* at = x + j;
      // Kept for the next panel, the numbers of x would push a sum out of its register: read anew.
      if constexpr (P > 1 && (N * P + 1) * lanes::registers_each + N > lanes::registers)
        asm volatile("" : "+r"(at));
#pragma GCC unroll 16
      for (std::size_t i = 0; i < N; ++i)
        sum[p][i] = lanes::fma(lanes::all(at[i * x_stride]), column, sum[p][i]);
    }
  }
#pragma GCC unroll 16
  for (std::size_t p = 0; p < P; ++p)
#pragma GCC unroll 16
    for (std::size_t i = 0; i < N; ++i)
      store_tile_row(
          {out.y + 16 * p, out.stride, out.width - 16 * p, out.accumulate}, i, sum[p][i]);
}

// `count` panels, N rows.
template <class Load, std::size_t N>
void tile_across(
    tile_out out, tile_panels<Load> panels, std::size_t count, const float* x, std::size_t x_stride,
    std::size_t k) {
  constexpr std::size_t fit = lanes::tile_rows / N;
  constexpr std::size_t side_by_side = fit >= 4 ? 4 : fit >= 2 ? 2 : 1;
  while (count > 0) {
    const auto taken = count >= side_by_side ? side_by_side : count > 1 && side_by_side > 1 ? 2 : 1;
    if (taken == 1)
      tile_of<Load, N, 1>(out, panels, x, x_stride, k);
    else if (taken == side_by_side)
      tile_of<Load, N, side_by_side>(out, panels, x, x_stride, k);
    else if constexpr (side_by_side > 2)
      tile_of<Load, N, 2>(out, panels, x, x_stride, k);
    count -= taken, panels.b += taken * panels.step;
    out.y += 16 * taken, out.width -= 16 * taken;  // of the last panel: not used any more
  }
}

// The same for any number of rows.
template <class Load>
void tile(
    tile_out out, const tile_panels<Load>& panels, std::size_t count, const float* x,
    std::size_t x_stride, std::size_t k, std::size_t rows) {
  constexpr auto full = lanes::tile_rows;
  while (rows > 0) {
    const auto taken = rows >= full ? full : rows >= 6 ? 6 : rows >= 3 ? 3 : rows;
    switch (taken) {
      case full:
        tile_across<Load, full>(out, panels, count, x, x_stride, k);
        break;
      case 3:
        tile_across<Load, 3>(out, panels, count, x, x_stride, k);
        break;
      case 2:
        tile_across<Load, 2>(out, panels, count, x, x_stride, k);
        break;
      case 1:
        tile_across<Load, 1>(out, panels, count, x, x_stride, k);
        break;
      default:
        tile_across<Load, 6>(out, panels, count, x, x_stride, k);
        break;
    }
    rows -= taken, x += taken * x_stride, out.y += taken * out.stride;
  }
}

}  // namespace
}  // namespace dlls::kernels

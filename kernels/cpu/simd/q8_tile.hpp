// Integer products, written once on `lanes` and on what the instruction set's dot.hpp brings, which
// is included before this:
//
//     template <element Type> constexpr std::size_t rows_at_once;   // 2, 4 or 8
//     constexpr std::size_t prefetch_bytes;                         // how far ahead
//     // Dot products of four columns a step, steps [First, First + Steps) of 32 columns of
//     // sixteen rows of weights (at q), with one block of each of N rows of activations.
//     template <element Type, unsigned First, unsigned Steps, std::size_t N>
//     void dot_steps(lanes (&dot)[N], const std::uint8_t* q, const q8_block* const (&x)[N]);
//
// A row of results is the same however many rows of activations are taken at once: the integer
// sums are exact and each block's are added in one order.
#pragma once
#include "kernels/backend.hpp"
#include "kernels/cpu/simd/numbers.hpp"
#include "kernels/cpu/simd/tile.hpp"

namespace dlls::kernels {
namespace {

template <element Type, std::size_t N>
DLLS_LANES void add_group(
    lanes (&sum)[N], const group_scale& scale, const lanes (&dot)[N], const q8_block* const (&x)[N],
    std::size_t half) {
#pragma GCC unroll 16
  for (std::size_t i = 0; i < N; ++i) {
    const float x_sum = packing_of(Type).group == 16 ? x[i]->half_sum[half] : x[i]->sum;
    sum[i] = lanes::fma(lanes::mul(scale.d, lanes::all(x[i]->d)), dot[i], sum[i]);
    sum[i] = lanes::fma(scale.zero, lanes::all(x_sum), sum[i]);
  }
}

// One panel, N activation rows.
template <element Type, std::size_t N>
[[gnu::noinline]] void q8_tile(
    const tile_out& out, const std::byte* panel, const q8_block* x, std::size_t blocks) {
  constexpr auto form = packing_of(Type);
  constexpr auto steps = form.columns / block_values;  // blocks of activations in one of weights
  constexpr std::size_t halves = block_values / form.group;
  constexpr auto head = panel_rows * (form.minimum ? 4 : 2);
  lanes sum[N];
#pragma GCC unroll 16
  for (std::size_t i = 0; i < N; ++i) sum[i] = lanes::all(0);
  for (std::size_t b = 0; b < blocks; panel += form.bytes()) {
    const auto* halfs = reinterpret_cast<const std::uint16_t*>(panel);
    const lanes d = lanes::load_half(halfs);
    const lanes m = form.minimum ? lanes::load_half(halfs + panel_rows) : d;
    const auto* q = reinterpret_cast<const std::uint8_t*>(panel + form.head_bytes());
    for (std::size_t s = 0; s < steps; ++s, ++b, q += form.number_bytes()) {
      // A single row reads weights faster than the hardware fetches them by itself.
      if constexpr (N == 1)
        for (std::size_t ahead = 0; ahead < form.bytes() / steps; ahead += 64)
          _mm_prefetch(
              reinterpret_cast<const char*>(panel) + s * (form.bytes() / steps) + ahead +
                  prefetch_bytes,
              _MM_HINT_T0);
      const q8_block* at[N];
#pragma GCC unroll 16
      for (std::size_t i = 0; i < N; ++i) at[i] = x + i * blocks + b;
      lanes dot[N];
      if constexpr (halves == 1) {
        dot_steps<Type, 0, 8, N>(dot, q, at);
        add_group<Type, N>(sum, scale_of<Type>(d, m, panel + head, s), dot, at, 0);
      } else {
        dot_steps<Type, 0, 4, N>(dot, q, at);
        add_group<Type, N>(sum, scale_of<Type>(d, m, panel + head, 2 * s), dot, at, 0);
        dot_steps<Type, 4, 4, N>(dot, q, at);
        add_group<Type, N>(sum, scale_of<Type>(d, m, panel + head, 2 * s + 1), dot, at, 1);
      }
    }
  }
#pragma GCC unroll 16
  for (std::size_t i = 0; i < N; ++i) store_tile_row(out, i, sum[i]);
}

// One panel, any number of activation rows.
template <element Type>
void q8_panel(
    tile_out out, const std::byte* panel, const q8_block* x, std::size_t blocks, std::size_t rows) {
  constexpr auto full = rows_at_once<Type>;
  while (rows > 0) {
    const auto taken = rows >= full ? full : rows >= 4 ? 4 : rows;
    switch (taken) {
      case full:
        q8_tile<Type, full>(out, panel, x, blocks);
        break;
      case 1:
        q8_tile<Type, 1>(out, panel, x, blocks);
        break;
      default:
        if constexpr (full > 2) {
          if (taken == 2)
            q8_tile<Type, 2>(out, panel, x, blocks);
          else if (taken == 3)
            q8_tile<Type, 3>(out, panel, x, blocks);
          else if constexpr (full > 4)
            q8_tile<Type, 4>(out, panel, x, blocks);
        }
        break;
    }
    rows -= taken, x += taken * blocks, out.y += taken * out.stride;
  }
}

}  // namespace
}  // namespace dlls::kernels

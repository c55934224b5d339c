// Integer products for AVX-512 with VNNI: vpdpbusd multiplies 64 pairs of bytes and adds them by
// fours to sixteen sums of 32 bits.
#include "kernels/cpu/avx512/lanes.hpp"  // first: the files below are written on it

#include "kernels/cpu/avx512/backend.hpp"
#include "kernels/cpu/simd/matmul.hpp"

namespace dlls::kernels {
namespace {

[[gnu::always_inline]] inline __m512i four_everywhere(const std::int8_t* q) {
  int bits;
  std::memcpy(&bits, q, 4);
  return _mm512_set1_epi32(bits);
}

[[gnu::always_inline]] inline __m512i load_bytes(const std::uint8_t* p) {
  return _mm512_loadu_si512(p);
}

// The dot products of one block of sixteen rows with one block of each of N activation rows. Two
// sums a row when there is but one, so that the additions don't wait for one another.
template <element Type, std::size_t N>
[[gnu::always_inline]] inline void dot_block(
    __m512i (&dot)[N], const std::uint8_t* q, const q8_block* const (&x)[N]) {
  constexpr std::size_t ways = N == 1 ? 2 : 1;
  __m512i sum[ways][N];
#pragma GCC unroll 2
  for (std::size_t w = 0; w < ways; ++w)
#pragma GCC unroll 16
    for (std::size_t i = 0; i < N; ++i) sum[w][i] = _mm512_setzero_si512();
#pragma GCC unroll 4
  for (int p = 0; p < 4; ++p) {
    __m512i w[2];
    if constexpr (Type == element::q8_0) {
      w[0] = load_bytes(q + 128 * p);
      w[1] = load_bytes(q + 128 * p + 64);
    } else {
      const __m512i both = load_bytes(q + 64 * p), low = _mm512_set1_epi8(15);
      w[0] = _mm512_and_si512(both, low);
      w[1] = _mm512_and_si512(_mm512_srli_epi16(both, 4), low);
    }
#pragma GCC unroll 2
    for (std::size_t h = 0; h < 2; ++h)
#pragma GCC unroll 16
      for (std::size_t i = 0; i < N; ++i)
        sum[h % ways][i] =
            _mm512_dpbusd_epi32(sum[h % ways][i], w[h], four_everywhere(x[i]->q + 8 * p + 4 * h));
  }
#pragma GCC unroll 16
  for (std::size_t i = 0; i < N; ++i)
    dot[i] = ways == 2 ? _mm512_add_epi32(sum[0][i], sum[ways - 1][i]) : sum[0][i];
}

// One panel, N activation rows.
template <element Type, std::size_t N>
[[gnu::noinline]] void q8_tile(
    const tile_out& out, const std::byte* panel, const q8_block* x, std::size_t blocks) {
  constexpr auto block_bytes = bytes_of(Type, block_values * panel_rows);
  lanes sum[N];
#pragma GCC unroll 16
  for (std::size_t i = 0; i < N; ++i) sum[i] = lanes::all(0);
  for (std::size_t b = 0; b < blocks; ++b, panel += block_bytes) {
    // A single row reads weights faster than the hardware fetches them by itself.
    if constexpr (N == 1)
      for (std::size_t ahead = 0; ahead < block_bytes; ahead += 64)
        _mm_prefetch(reinterpret_cast<const char*>(panel) + 4096 + ahead, _MM_HINT_T0);
    const auto* halves = reinterpret_cast<const std::uint16_t*>(panel);
    const auto* q = reinterpret_cast<const std::uint8_t*>(panel);
    const q8_block* at[N];
#pragma GCC unroll 16
    for (std::size_t i = 0; i < N; ++i) at[i] = x + i * blocks + b;
    __m512i dot[N];
    dot_block<Type, N>(dot, q + (Type == element::q4_1 ? 64 : 32), at);
    const lanes d = lanes::load_half(halves);
    lanes m;
    if constexpr (Type == element::q4_1)
      m = lanes::load_half(halves + 16);
    else
      m = lanes::mul(d, lanes::all(Type == element::q4_0 ? -8.0f : -128.0f));
#pragma GCC unroll 16
    for (std::size_t i = 0; i < N; ++i) {
      const lanes numbers{_mm512_cvtepi32_ps(dot[i])};
      sum[i] = lanes::fma(lanes::mul(d, lanes::all(at[i]->d)), numbers, sum[i]);
      sum[i] = lanes::fma(m, lanes::all(at[i]->sum), sum[i]);
    }
  }
#pragma GCC unroll 16
  for (std::size_t i = 0; i < N; ++i) store_tile_row(out, i, sum[i]);
}

template <element Type>
void q8_panel(
    tile_out out, const std::byte* panel, const q8_block* x, std::size_t blocks, std::size_t rows) {
  while (rows > 0) {
    const std::size_t taken = rows >= 8 ? 8 : rows >= 4 ? 4 : rows;
    switch (taken) {
      case 1:
        q8_tile<Type, 1>(out, panel, x, blocks);
        break;
      case 2:
        q8_tile<Type, 2>(out, panel, x, blocks);
        break;
      case 3:
        q8_tile<Type, 3>(out, panel, x, blocks);
        break;
      case 4:
        q8_tile<Type, 4>(out, panel, x, blocks);
        break;
      default:
        q8_tile<Type, 8>(out, panel, x, blocks);
        break;
    }
    rows -= taken, x += taken * blocks, out.y += taken * out.stride;
  }
}

}  // namespace

namespace avx512 {

void matmul_q8(const panel_range<float, q8_block>& a) {
  const auto& w = *a.weights;
  const auto blocks = w.columns / block_values;
  for (auto p = a.begin; p < a.end; ++p) {
    const auto left = w.rows - p * panel_rows;
    const tile_out out{
        a.y + p * panel_rows, a.y_stride, left < panel_rows ? left : panel_rows, a.accumulate};
    const auto* panel = w.data + p * w.panel_bytes();
    if (w.type == element::q8_0)
      q8_panel<element::q8_0>(out, panel, a.x, blocks, a.rows);
    else if (w.type == element::q4_0)
      q8_panel<element::q4_0>(out, panel, a.x, blocks, a.rows);
    else
      q8_panel<element::q4_1>(out, panel, a.x, blocks, a.rows);
  }
}

void matmul_f32(const panel_range<float, float>& a) { matmul_floats(a); }

}  // namespace avx512
}  // namespace dlls::kernels

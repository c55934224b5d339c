// Integer products for AVX2: bytes meet bytes in vpmaddubsw, sums stay in sixteen bits within a
// block of 32.
//
// Why they fit: weights are nibbles (at most 15), activations at most 127, and each of the eight
// steps adds two products to a lane: 8 * 2 * 15 * 127 = 30480 < 32768. An 8-bit weight is taken as
// two nibbles.
#include "kernels/cpu/avx2/lanes.hpp"  // first: the files below are written on it

#include "kernels/cpu/avx2/backend.hpp"
#include "kernels/cpu/simd/matmul.hpp"

namespace dlls::kernels {
namespace {

[[gnu::always_inline]] inline __m256i four_everywhere(const std::int8_t* q) {
  int bits;
  std::memcpy(&bits, q, 4);
  return _mm256_set1_epi32(bits);
}

[[gnu::always_inline]] inline __m256i load_bytes(const std::uint8_t* p) {
  return _mm256_load_si256(reinterpret_cast<const __m256i*>(p));
}

[[gnu::always_inline]] inline __m256i low_nibbles(__m256i v) {
  return _mm256_and_si256(v, _mm256_set1_epi8(15));
}
[[gnu::always_inline]] inline __m256i high_nibbles(__m256i v) {
  return _mm256_and_si256(_mm256_srli_epi16(v, 4), _mm256_set1_epi8(15));
}

// Adds here and now. Left to itself GCC gathers the terms of a block's sums in a tree, which needs
// far more registers than there are: half the speed goes into moving them to memory and back.
[[gnu::always_inline]] inline void add_now(__m256i& sum, __m256i term) {
  sum = _mm256_add_epi16(sum, term);
  asm("" : "+x"(sum));
}

// Pairs of sixteen-bit sums as floats.
[[gnu::always_inline]] inline __m256 pair_sums(__m256i sums) {
  return _mm256_cvtepi32_ps(_mm256_madd_epi16(sums, _mm256_set1_epi16(1)));
}

// The dot products of one block of sixteen rows with one block of each of N activation rows.
template <std::size_t N>
[[gnu::always_inline]] inline void dot_nibbles(
    lanes (&dot)[N], const std::uint8_t* q, const q8_block* const (&x)[N]) {
  __m256i sum[N][2];
#pragma GCC unroll 4
  for (int p = 0; p < 4; ++p) {
    const __m256i top = load_bytes(q + 64 * p), bottom = load_bytes(q + 64 * p + 32);
    const __m256i w[2][2] = {
        {low_nibbles(top), low_nibbles(bottom)}, {high_nibbles(top), high_nibbles(bottom)}};
#pragma GCC unroll 2
    for (int h = 0; h < 2; ++h) {
#pragma GCC unroll 8
      for (std::size_t i = 0; i < N; ++i) {
        const __m256i four = four_everywhere(x[i]->q + 8 * p + 4 * h);
        const __m256i a = _mm256_maddubs_epi16(w[h][0], four);
        const __m256i b = _mm256_maddubs_epi16(w[h][1], four);
        if (p == 0 && h == 0) {
          sum[i][0] = a, sum[i][1] = b;
        } else {
          add_now(sum[i][0], a), add_now(sum[i][1], b);
        }
      }
    }
  }
#pragma GCC unroll 8
  for (std::size_t i = 0; i < N; ++i) dot[i] = {pair_sums(sum[i][0]), pair_sums(sum[i][1])};
}

// The same for bytes: each is 16 * high nibble + low nibble.
template <std::size_t N>
[[gnu::always_inline]] inline void dot_bytes(
    lanes (&dot)[N], const std::uint8_t* q, const q8_block* const (&x)[N]) {
  __m256i low[N][2], high[N][2];
#pragma GCC unroll 8
  for (int p = 0; p < 8; ++p) {
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
      const __m256i v = load_bytes(q + 64 * p + 32 * half);
      const __m256i l = low_nibbles(v), h = high_nibbles(v);
#pragma GCC unroll 8
      for (std::size_t i = 0; i < N; ++i) {
        const __m256i four = four_everywhere(x[i]->q + 4 * p);
        const __m256i a = _mm256_maddubs_epi16(l, four), b = _mm256_maddubs_epi16(h, four);
        if (p == 0) {
          low[i][half] = a, high[i][half] = b;
        } else {
          add_now(low[i][half], a), add_now(high[i][half], b);
        }
      }
    }
  }
  const lanes sixteen = lanes::all(16.0f);
#pragma GCC unroll 8
  for (std::size_t i = 0; i < N; ++i)
    dot[i] = lanes::fma(
        {pair_sums(high[i][0]), pair_sums(high[i][1])}, sixteen,
        {pair_sums(low[i][0]), pair_sums(low[i][1])});
}

// One panel, N activation rows.
template <element Type, std::size_t N>
[[gnu::noinline]] void q8_tile(
    const tile_out& out, const std::byte* panel, const q8_block* x, std::size_t blocks) {
  constexpr auto block_bytes = bytes_of(Type, block_values * panel_rows);
  lanes sum[N];
#pragma GCC unroll 8
  for (std::size_t i = 0; i < N; ++i) sum[i] = lanes::all(0);
  for (std::size_t b = 0; b < blocks; ++b, panel += block_bytes) {
    // A single row reads weights faster than the hardware fetches them by itself.
    if constexpr (N == 1)
      for (std::size_t ahead = 0; ahead < block_bytes; ahead += 64)
        _mm_prefetch(reinterpret_cast<const char*>(panel) + 2048 + ahead, _MM_HINT_T0);
    const auto* halves = reinterpret_cast<const std::uint16_t*>(panel);
    const auto* q = reinterpret_cast<const std::uint8_t*>(panel);
    const q8_block* at[N];
#pragma GCC unroll 8
    for (std::size_t i = 0; i < N; ++i) at[i] = x + i * blocks + b;
    lanes dot[N];
    if constexpr (Type == element::q8_0)
      dot_bytes<N>(dot, q + 32, at);
    else
      dot_nibbles<N>(dot, q + (Type == element::q4_1 ? 64 : 32), at);
    const lanes d = lanes::load_half(halves);
    lanes m;
    if constexpr (Type == element::q4_1)
      m = lanes::load_half(halves + 16);
    else
      m = lanes::mul(d, lanes::all(Type == element::q4_0 ? -8.0f : -128.0f));
#pragma GCC unroll 8
    for (std::size_t i = 0; i < N; ++i) {
      sum[i] = lanes::fma(lanes::mul(d, lanes::all(at[i]->d)), dot[i], sum[i]);
      sum[i] = lanes::fma(m, lanes::all(at[i]->sum), sum[i]);
    }
  }
#pragma GCC unroll 8
  for (std::size_t i = 0; i < N; ++i) store_tile_row(out, i, sum[i]);
}

template <element Type>
void q8_panel(
    tile_out out, const std::byte* panel, const q8_block* x, std::size_t blocks, std::size_t rows) {
  constexpr std::size_t full = Type == element::q8_0 ? 2 : 4;
  while (rows > 0) {
    const auto taken = rows < full ? rows : full;
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
      default:
        q8_tile<Type, 4>(out, panel, x, blocks);
        break;
    }
    rows -= taken, x += taken * blocks, out.y += taken * out.stride;
  }
}

}  // namespace

namespace avx2 {

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

}  // namespace avx2
}  // namespace dlls::kernels

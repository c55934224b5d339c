// Products with float activations, on lanes (see tile.hpp). Weights that are not float are turned
// into floats once for all rows of activations, a piece of a panel at a time.
#pragma once
#include <cstring>

#include "kernels/backend.hpp"
#include "kernels/cpu/simd/tile.hpp"

namespace dlls::kernels {
namespace {

// Weights are taken this many panels and columns at a time: 16 KB when decoded, half a first-level
// cache. Sums start anew for each such piece and are added up, whether the weights are decoded
// first or on the way.
constexpr std::size_t piece_panels = 4;
constexpr std::size_t piece_columns = 64;

template <class Load>
void decode_floats(float* out, const std::byte* in, std::size_t columns) {
  const auto* from = reinterpret_cast<const typename Load::number*>(in);
  for (std::size_t j = 0; j < columns; ++j) lanes::store(out + j * 16, Load::load(from + j * 16));
}

// Column `j` of four in a (16, 4) byte group: the bytes j, 4 + j, 8 + j...
DLLS_LANES __m128i column_bytes(const std::uint8_t* group, int j) {
  const __m128i pick =
      _mm_add_epi8(_mm_set_epi32(-1, -1, -1, 0x0C080400), _mm_set1_epi8(static_cast<char>(j)));
  __m128i quarter[4];
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i)
    quarter[i] =
        _mm_shuffle_epi8(_mm_loadu_si128(reinterpret_cast<const __m128i*>(group + 16 * i)), pick);
  return _mm_unpacklo_epi64(
      _mm_unpacklo_epi32(quarter[0], quarter[1]), _mm_unpacklo_epi32(quarter[2], quarter[3]));
}

void decode_block(float* out, element type, const std::byte* in) {
  const auto* halves = reinterpret_cast<const std::uint16_t*>(in);
  const lanes d = lanes::load_half(halves);
  const lanes m = type == element::q4_1   ? lanes::load_half(halves + 16)
                  : type == element::q4_0 ? lanes::mul(d, lanes::all(-8.0f))
                                          : lanes::mul(d, lanes::all(-128.0f));
  const auto* q = reinterpret_cast<const std::uint8_t*>(in) + (type == element::q4_1 ? 64 : 32);
  const __m128i low = _mm_set1_epi8(15);
  const int step = type == element::q8_0 ? 4 : 8;
  for (int group = 0; group < 32 / step; ++group, q += 64) {
    for (int j = 0; j < 4; ++j) {
      const __m128i bytes = column_bytes(q, j);
      float* at = out + (group * step + j) * 16;
      if (type == element::q8_0) {
        lanes::store(at, lanes::fma(lanes::from_bytes(bytes), d, m));
        continue;
      }
      const __m128i high = _mm_and_si128(_mm_srli_epi16(bytes, 4), low);
      lanes::store(at, lanes::fma(lanes::from_bytes(_mm_and_si128(bytes, low)), d, m));
      lanes::store(at + 64, lanes::fma(lanes::from_bytes(high), d, m));
    }
  }
}

void decode(float* out, element type, const std::byte* in, std::size_t columns) {
  if (type == element::f16) return decode_floats<load_f16>(out, in, columns);
  if (type == element::bf16) return decode_floats<load_bf16>(out, in, columns);
  const auto block_bytes = bytes_of(type, block_values * 16);
  for (std::size_t j = 0; j < columns; j += block_values, in += block_bytes)
    decode_block(out + j * 16, type, in);
}

template <class Load>
void direct_panels(
    tile_out out, const panel_range<float, float>& a, std::size_t panel, std::size_t panels) {
  const auto& w = *a.weights;
  const auto* from =
      reinterpret_cast<const typename Load::number*>(w.data + panel * w.panel_bytes());
  for (std::size_t j = 0; j < w.columns; j += piece_columns) {
    tile<Load>(
        out, {from + j * 16, 16, w.columns * 16}, panels, a.x + j, w.columns,
        smaller(piece_columns, w.columns - j), a.rows);
    out.accumulate = true;
  }
}

void decoded_panels(
    tile_out out, const panel_range<float, float>& a, std::size_t panel, std::size_t panels) {
  alignas(64) float piece[piece_panels][piece_columns * 16];
  const auto& w = *a.weights;
  for (std::size_t j = 0; j < w.columns; j += piece_columns) {
    const auto count = smaller(piece_columns, w.columns - j);
    const auto* from = w.data + panel * w.panel_bytes() + bytes_of(w.type, j * 16);
    for (std::size_t p = 0; p < panels; ++p, from += w.panel_bytes())
      decode(piece[p], w.type, from, count);
    tile<load_f32>(
        out, {piece[0], 16, piece_columns * 16}, panels, a.x + j, w.columns, count, a.rows);
    out.accumulate = true;
  }
}

void matmul_floats(const panel_range<float, float>& a) {
  const auto& w = *a.weights;
  const bool few = a.rows <= lanes::tile_rows;
  for (auto p = a.begin; p < a.end; p += piece_panels) {
    const tile_out out{a.y + p * panel_rows, a.y_stride, w.rows - p * panel_rows, a.accumulate};
    const auto panels = smaller(piece_panels, a.end - p);
    if (w.type == element::f32)
      direct_panels<load_f32>(out, a, p, panels);
    else if (w.type == element::f16 && few)
      direct_panels<load_f16>(out, a, p, panels);
    else if (w.type == element::bf16 && few)
      direct_panels<load_bf16>(out, a, p, panels);
    else
      decoded_panels(out, a, p, panels);
  }
}

}  // namespace
}  // namespace dlls::kernels

// Products, on lanes (see tile.hpp): of integers, and with float activations. For the latter
// weights that are not float are turned into floats once for all rows of activations, a piece of a
// panel at a time.
#pragma once
#include <cstring>

#include "kernels/backend.hpp"
#include "kernels/cpu/simd/numbers.hpp"
#include "kernels/cpu/simd/q8_tile.hpp"
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

using words16 = unsigned short __attribute__((vector_size(16)));

// A step's (16, 4) bytes the other way round: four columns of sixteen rows.
template <element Type>
DLLS_LANES void columns_of(__m128i (&column)[4], const std::uint8_t* q, unsigned step) {
  const __m128i by_column = _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  __m128i quarter[4];  // four rows each
#pragma GCC unroll 4
  for (std::size_t i = 0; i < 4; ++i) {
    auto bytes = reinterpret_cast<__m128i>(step_bytes<Type, words16>(q, step, 16 * i));
    if constexpr (packing_of(Type).codebook)
      bytes = _mm_shuffle_epi8(sixteen_bytes(iq4_bytes.value), bytes);
    quarter[i] = _mm_shuffle_epi8(bytes, by_column);
  }
  const __m128i low01 = _mm_unpacklo_epi32(quarter[0], quarter[1]);
  const __m128i low23 = _mm_unpacklo_epi32(quarter[2], quarter[3]);
  const __m128i high01 = _mm_unpackhi_epi32(quarter[0], quarter[1]);
  const __m128i high23 = _mm_unpackhi_epi32(quarter[2], quarter[3]);
  column[0] = _mm_unpacklo_epi64(low01, low23);
  column[1] = _mm_unpackhi_epi64(low01, low23);
  column[2] = _mm_unpacklo_epi64(high01, high23);
  column[3] = _mm_unpackhi_epi64(high01, high23);
}

// Columns [first, first + 32) of a panel.
template <element Type>
void decode_block(float* out, const std::byte* panel, std::size_t first) {
  constexpr auto form = packing_of(Type);
  const auto* at = panel + first / form.columns * form.bytes();
  const auto within = first % form.columns;
  const auto* halves = reinterpret_cast<const std::uint16_t*>(at);
  const lanes d = lanes::load_half(halves);
  const lanes m = form.minimum ? lanes::load_half(halves + panel_rows) : d;
  const auto* scales = at + panel_rows * (form.minimum ? 4 : 2);
  const auto* q = reinterpret_cast<const std::uint8_t*>(at) + form.head_bytes() +
                  within / block_values * form.number_bytes();
#pragma GCC unroll 8
  for (unsigned step = 0; step < 8; ++step) {
    const auto scale = scale_of<Type>(d, m, scales, (within + 4 * step) / form.group);
    __m128i column[4];
    columns_of<Type>(column, q, step);
#pragma GCC unroll 4
    for (std::size_t j = 0; j < 4; ++j, out += 16)
      lanes::store(out, lanes::fma(lanes::from_bytes(column[j]), scale.d, scale.zero));
  }
}

// Columns [first, first + count) of a panel.
void decode(
    float* out, element type, const std::byte* panel, std::size_t first, std::size_t count) {
  const auto* at = panel + first * panel_rows * 2;
  if (type == element::f16) return decode_floats<load_f16>(out, at, count);
  if (type == element::bf16) return decode_floats<load_bf16>(out, at, count);
  with_quantised(type, [&]<element Type>() {
    for (std::size_t j = 0; j < count; j += block_values)
      decode_block<Type>(out + j * panel_rows, panel, first + j);
  });
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
    const auto* from = w.data + panel * w.panel_bytes();
    for (std::size_t p = 0; p < panels; ++p, from += w.panel_bytes())
      decode(piece[p], w.type, from, j, count);
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

template <element Type>
void q8_panels(const panel_range<float, q8_block>& a) {
  const auto& w = *a.weights;
  for (auto p = a.begin; p < a.end; ++p) {
    const auto left = w.rows - p * panel_rows;
    const tile_out out{
        a.y + p * panel_rows, a.y_stride, left < panel_rows ? left : panel_rows, a.accumulate};
    q8_panel<Type>(out, w.data + p * w.panel_bytes(), a.x, w.columns / block_values, a.rows);
  }
}

void matmul_integers(const panel_range<float, q8_block>& a) {
  with_quantised(a.weights->type, [&]<element Type>() { q8_panels<Type>(a); });
}

}  // namespace
}  // namespace dlls::kernels

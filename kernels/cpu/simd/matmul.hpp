// Products with float activations, on lanes (see tile.hpp). Weights that are not float are turned
// into floats once for all rows of activations, a piece of a panel at a time.
#pragma once
#include <cstring>

#include "kernels/backend.hpp"
#include "kernels/cpu/simd/numbers.hpp"
#include "kernels/cpu/simd/tile.hpp"

namespace dlls::kernels {
namespace {

// Numbers decoded at once: 16 KB, half a first-level cache. One panel's for many rows of
// activations, four panels' for few (see tile()).
constexpr std::size_t decoded_numbers = 4096;

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

// Panels [begin, end) of a product, as tile() wants them.
template <class Load>
void direct_panels(const panel_range<float, float>& a, const tile_out& out) {
  const auto columns = a.weights->columns;
  const auto* at = a.weights->data + a.begin * a.weights->panel_bytes();
  tile<Load>(
      out,
      {reinterpret_cast<const typename Load::number*>(at), columns * panel_rows, panel_rows,
       a.end - a.begin},
      a.x, columns, columns, a.rows);
}

void decoded_panels(const panel_range<float, float>& a, tile_out out) {
  alignas(64) float piece[decoded_numbers];
  const auto& w = *a.weights;
  const std::size_t together = a.rows < 16 ? 4 : 1;
  const auto columns_max = decoded_numbers / panel_rows / together;
  for (auto p = a.begin; p < a.end; p += together) {
    const auto panels = a.end - p < together ? a.end - p : together;
    auto part = out;
    for (std::size_t j = 0; j < w.columns; j += columns_max, part.accumulate = true) {
      const auto count = w.columns - j < columns_max ? w.columns - j : columns_max;
      for (std::size_t i = 0; i < panels; ++i)
        decode(
            piece + i * count * panel_rows, w.type, w.data + (p + i) * w.panel_bytes(), j, count);
      tile<load_f32>(
          part, {piece, count * panel_rows, panel_rows, panels}, a.x + j, w.columns, count, a.rows);
    }
    out.y += together * panel_rows;
    out.width -= out.width < together * panel_rows ? out.width : together * panel_rows;
  }
}

void matmul_floats(const panel_range<float, float>& a) {
  const auto& w = *a.weights;
  const tile_out out{
      a.y + a.begin * panel_rows, a.y_stride, w.rows - a.begin * panel_rows, a.accumulate};
  if (w.type == element::f32)
    direct_panels<load_f32>(a, out);
  else if (w.type == element::f16 && a.rows <= lanes::tile_rows)
    direct_panels<load_f16>(a, out);
  else if (w.type == element::bf16 && a.rows <= lanes::tile_rows)
    direct_panels<load_bf16>(a, out);
  else
    decoded_panels(a, out);
}

}  // namespace
}  // namespace dlls::kernels

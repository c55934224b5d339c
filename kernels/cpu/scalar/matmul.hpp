// The reference for products: one number at a time, in whatever arithmetic `Real` is.
#pragma once
#include <cstring>

#include "kernels/backend.hpp"

namespace dlls::kernels::scalar {

// One block of a packed panel: where its parts lie (packed.hpp).
struct block_view {
  const std::byte* at;
  element type;

  std::size_t bytes() const noexcept { return bytes_of(type, block_values * panel_rows); }
  float half(std::size_t index) const noexcept {
    std::uint16_t bits;
    std::memcpy(&bits, at + 2 * index, 2);
    return from_half(bits);
  }
  float scale(std::size_t row) const noexcept { return half(row); }
  // What a stored number 0 stands for.
  template <class Real>
  Real offset(std::size_t row) const noexcept {
    switch (type) {
      case element::q4_1:
        return Real(half(panel_rows + row));
      case element::q4_0:
        return Real(-8) * Real(scale(row));
      default:
        return Real(-128) * Real(scale(row));
    }
  }
  // The stored number, never negative.
  int number(std::size_t row, std::size_t column) const noexcept {
    const std::size_t head = type == element::q4_1 ? 64 : 32;
    if (type == element::q8_0)
      return static_cast<int>(at[head + column / 4 * 64 + row * 4 + column % 4]);
    const int both = static_cast<int>(at[head + column / 8 * 64 + row * 4 + column % 4]);
    return column % 8 < 4 ? both & 15 : both >> 4;
  }
};

inline block_view block_at(const packed_matrix& w, std::size_t panel, std::size_t block) noexcept {
  return {
      w.data + panel * w.panel_bytes() + block * bytes_of(w.type, block_values * panel_rows),
      w.type};
}

// Element (row, column) of a packed matrix.
template <class Real>
Real element_at(const packed_matrix& w, std::size_t row, std::size_t column) noexcept {
  const auto panel = row / panel_rows, r = row % panel_rows;
  if (is_quantised(w.type)) {
    const auto b = block_at(w, panel, column / block_values);
    return Real(b.scale(r)) * Real(b.number(r, column % block_values)) + b.offset<Real>(r);
  }
  const auto* at = w.data + panel * w.panel_bytes() + bytes_of(w.type, column * panel_rows + r);
  if (w.type == element::f32) {
    float value;
    std::memcpy(&value, at, 4);
    return Real(value);
  }
  std::uint16_t bits;
  std::memcpy(&bits, at, 2);
  return Real(w.type == element::f16 ? from_half(bits) : from_bfloat(bits));
}

template <class Real, class Activation, class Dot>
void for_each_output(const panel_range<Real, Activation>& range, Dot dot) {
  const auto& w = *range.weights;
  for (auto row = range.begin * panel_rows; row < range.end * panel_rows && row < w.rows; ++row) {
    for (std::size_t i = 0; i < range.rows; ++i) {
      Real& y = range.y[i * range.y_stride + row];
      y = (range.accumulate ? y : Real(0)) + dot(row, i);
    }
  }
}

// Integer dot products within a block, then scaled: the sum of the activations carries the offset.
template <class Real>
void matmul_q8(const panel_range<Real, q8_block>& range) {
  const auto& w = *range.weights;
  const auto blocks = w.columns / block_values;
  for_each_output(range, [&](std::size_t row, std::size_t i) {
    Real sum = 0;
    for (std::size_t b = 0; b < blocks; ++b) {
      const auto& x = range.x[i * blocks + b];
      const auto block = block_at(w, row / panel_rows, b);
      const auto r = row % panel_rows;
      int dot = 0;
      for (std::size_t j = 0; j < block_values; ++j) dot += block.number(r, j) * x.q[j];
      sum += Real(block.scale(r)) * Real(x.d) * Real(dot) +
             block.template offset<Real>(r) * Real(x.sum);
    }
    return sum;
  });
}

template <class Real>
void matmul(const panel_range<Real, Real>& range) {
  const auto& w = *range.weights;
  for_each_output(range, [&](std::size_t row, std::size_t i) {
    Real sum = 0;
    for (std::size_t j = 0; j < w.columns; ++j)
      sum += element_at<Real>(w, row, j) * range.x[i * w.columns + j];
    return sum;
  });
}

}  // namespace dlls::kernels::scalar

// The reference for products: one number at a time, in whatever arithmetic `Real` is.
#pragma once
#include <cstring>

#include "kernels/backend.hpp"

namespace dlls::kernels::scalar {

// One row of one block of a packed panel, and where its parts lie (packed.hpp). Columns count from
// the block's first.
struct row_of_block {
  const std::byte* at;
  packing form;
  std::size_t row;

  float half(std::size_t index) const noexcept {
    std::uint16_t bits;
    std::memcpy(&bits, at + 2 * (index * panel_rows + row), 2);
    return from_half(bits);
  }
  // By what the numbers of a group are multiplied.
  template <class Real>
  Real scale(std::size_t group) const noexcept {
    const Real d = Real(half(0));
    if (!form.scaled()) return d;
    const auto byte = byte_of(group);
    return d * Real(form.paired() ? byte & 15 : static_cast<std::int8_t>(byte));
  }
  // What is added to every value of a group.
  template <class Real>
  Real minimum(std::size_t group) const noexcept {
    if (!form.minimum) return Real(0);
    const Real m = Real(half(1));
    if (!form.scaled()) return m;
    return m * Real(form.paired() ? byte_of(group) >> 4 : byte_of(form.groups() + group));
  }
  // The stored number, never negative.
  int number(std::size_t column) const noexcept {
    const auto* plane = at + form.head_bytes() + column / block_values * form.number_bytes();
    const int low = bits_of(plane, form.low_bits, column % block_values);
    if (form.high_bits == 0) return low;
    return low | bits_of(plane + 64 * form.low_bits, form.high_bits, column % block_values)
                     << form.low_bits;
  }
  int value(std::size_t column) const noexcept { return form.value(number(column)); }

 private:
  int byte_of(std::size_t group) const noexcept {
    return static_cast<int>(at[panel_rows * (form.minimum ? 4 : 2) + panel_rows * group + row]);
  }
  int bits_of(const std::byte* plane, unsigned bits, std::size_t column) const noexcept {
    const auto step = column / 4, together = std::size_t{8 / bits};
    const auto byte = static_cast<int>(plane[step / together * 64 + row * 4 + column % 4]);
    return byte >> bits * (step % together) & ((1 << bits) - 1);
  }
};

inline row_of_block block_at(const packed_matrix& w, std::size_t row, std::size_t column) noexcept {
  const auto form = packing_of(w.type);
  return {
      w.data + row / panel_rows * w.panel_bytes() + column / form.columns * form.bytes(), form,
      row % panel_rows};
}

// Element (row, column) of a packed matrix that is not quantised.
inline float float_at(const packed_matrix& w, std::size_t row, std::size_t column) noexcept {
  const auto index = column * panel_rows + row % panel_rows;
  const auto* at = w.data + row / panel_rows * w.panel_bytes() + bytes_of(w.type, index);
  if (w.type == element::f32) {
    float value;
    std::memcpy(&value, at, 4);
    return value;
  }
  std::uint16_t bits;
  std::memcpy(&bits, at, 2);
  return w.type == element::f16 ? from_half(bits) : from_bfloat(bits);
}

// fn(column, value) for each column of a row, in order.
template <class Real, class Fn>
void for_each_value(const packed_matrix& w, std::size_t row, Fn fn) {
  if (!is_quantised(w.type)) {
    for (std::size_t j = 0; j < w.columns; ++j) fn(j, Real(float_at(w, row, j)));
    return;
  }
  const auto group = packing_of(w.type).group;
  for (std::size_t column = 0; column < w.columns; column += group) {
    const auto block = block_at(w, row, column);
    const auto from = column % block.form.columns;
    const auto scale = block.template scale<Real>(from / group);
    const auto minimum = block.template minimum<Real>(from / group);
    for (std::size_t j = 0; j < group; ++j)
      fn(column + j, scale * Real(block.value(from + j)) + minimum);
  }
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

// Integer dot products within a group, then scaled.
template <class Real>
void matmul_q8(const panel_range<Real, q8_block>& range) {
  const auto& w = *range.weights;
  const auto group = packing_of(w.type).group;
  for_each_output(range, [&](std::size_t row, std::size_t i) {
    Real sum = 0;
    for (std::size_t column = 0; column < w.columns; column += group) {
      const auto block = block_at(w, row, column);
      const auto& x = range.x[(i * w.columns + column) / block_values];
      const auto from = column % block.form.columns, at = column % block_values;
      int dot = 0, x_sum = 0;
      for (std::size_t j = 0; j < group; ++j) {
        dot += block.value(from + j) * x.q[at + j];
        x_sum += x.q[at + j];
      }
      sum += Real(x.d) * (block.template scale<Real>(from / group) * Real(dot) +
                          block.template minimum<Real>(from / group) * Real(x_sum));
    }
    return sum;
  });
}

template <class Real>
void matmul(const panel_range<Real, Real>& range) {
  const auto& w = *range.weights;
  for_each_output(range, [&](std::size_t row, std::size_t i) {
    Real sum = 0;
    for_each_value<Real>(
        w, row, [&](std::size_t j, Real value) { sum += value * range.x[i * w.columns + j]; });
    return sum;
  });
}

}  // namespace dlls::kernels::scalar

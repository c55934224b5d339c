#include "kernels/packed.hpp"

#include <cstring>

#include "base/check.hpp"
#include "kernels/cpu/scalar/matmul.hpp"
#include "kernels/file_block.hpp"

namespace dlls::kernels {
namespace {

std::byte* put_half(std::byte* out, std::size_t row, std::uint16_t bits) {
  std::memcpy(out + 2 * row, &bits, 2);
  return out + 2 * panel_rows;
}

// Bits [from, from + bits) of a row's 32 numbers into a plane; four columns move as one word.
void put_plane(
    std::byte* plane, std::size_t row, const std::uint8_t* number, unsigned from, unsigned bits) {
  const std::uint32_t mask = 0x01010101u * ((1u << bits) - 1);
  for (unsigned p = 0; p < bits; ++p) {
    std::uint32_t packed = 0;
    for (unsigned k = 0; k < 8 / bits; ++k) {
      std::uint32_t four;
      std::memcpy(&four, number + 4 * (8 / bits * p + k), 4);
      packed |= (four >> from & mask) << bits * k;
    }
    std::memcpy(plane + 64 * p + 4 * row, &packed, 4);
  }
}

// One row of a block of sixteen.
void put_row(std::byte* out, const packing& form, std::size_t row, const block_parts& parts) {
  const auto groups = form.groups();
  auto* at = put_half(out, row, parts.d);
  if (form.minimum) at = put_half(at, row, parts.m);
  if (form.scaled())
    for (std::size_t g = 0; g < groups; ++g) {
      const auto scale = static_cast<unsigned>(static_cast<std::uint8_t>(parts.scale[g]));
      const unsigned minimum = parts.minimum[g];
      at[panel_rows * g + row] =
          static_cast<std::byte>(form.paired() ? scale | minimum << 4 : scale);
      if (form.minimum && !form.paired())
        at[panel_rows * (groups + g) + row] = static_cast<std::byte>(minimum);
    }
  auto* numbers = out + form.head_bytes();
  for (std::size_t j = 0; j < form.columns; j += block_values, numbers += form.number_bytes()) {
    put_plane(numbers, row, parts.number + j, 0, form.low_bits);
    if (form.high_bits != 0)
      put_plane(numbers + 64 * form.low_bits, row, parts.number + j, form.low_bits, form.high_bits);
  }
}

// A panel's columns one after another; `row` points at sixteen rows of the file, null where there
// is none.
void pack_values(
    std::byte* out, std::size_t size, std::size_t columns, const std::byte* const* row) {
  for (std::size_t column = 0; column < columns; ++column)
    for (std::size_t r = 0; r < panel_rows; ++r, out += size) {
      if (row[r] != nullptr)
        std::memcpy(out, row[r] + column * size, size);
      else
        std::memset(out, 0, size);
    }
}

void pack_blocks(std::byte* out, element type, std::size_t columns, const std::byte* const* row) {
  const auto form = packing_of(type);
  block_parts parts;
  for (std::size_t block = 0; block < columns / form.columns; ++block, out += form.bytes())
    for (std::size_t r = 0; r < panel_rows; ++r) {
      if (row[r] != nullptr)
        take_apart(parts, type, row[r] + block * bytes_together(type));
      else
        parts = {};  // d = m = 0
      put_row(out, form, r, parts);
    }
}

}  // namespace

std::size_t packed_bytes(element type, std::size_t rows, std::size_t columns) noexcept {
  return packed_matrix{type, rows, columns, nullptr}.bytes();
}

void pack_panels(
    std::byte* out, const packed_matrix& shape, std::size_t first, std::size_t last,
    const std::byte* in) {
  const auto type = shape.type;
  const auto rows = shape.rows, columns = shape.columns;
  base::check(columns % values_together(type) == 0, "whole blocks in every row");
  const auto row_bytes = bytes_of(type, columns);
  out += first * shape.panel_bytes();
  for (auto panel = first; panel < last; ++panel, out += shape.panel_bytes()) {
    const std::byte* row[panel_rows];
    for (std::size_t r = 0; r < panel_rows; ++r) {
      const auto index = panel * panel_rows + r;
      row[r] = index < rows ? in + index * row_bytes : nullptr;
    }
    if (is_quantised(type))
      pack_blocks(out, type, columns, row);
    else
      pack_values(out, bytes_together(type), columns, row);
  }
}

packed_matrix pack(
    std::byte* out, element type, std::size_t rows, std::size_t columns, const std::byte* in) {
  const packed_matrix made{type, rows, columns, out};
  pack_panels(out, made, 0, made.panels(), in);
  return made;
}

void unpack_row(float* out, const packed_matrix& matrix, std::size_t row) {
  scalar::for_each_value<float>(
      matrix, row, [out](std::size_t column, float value) { out[column] = value; });
}

}  // namespace dlls::kernels

// Weight matrices, repacked so that one load feeds sixteen rows.
//
// Rows are taken sixteen at a time, a panel; the last panel is filled up with rows of zeros. Within
// a panel the columns follow one another:
//   f32, f16, bf16   (columns, 16) values
//   quantised        (columns / packing.columns) blocks of packing.bytes() each:
//     uint16 d[16]; uint16 m[16] where there are minima; for blocks of 256 int8 scale (groups, 16)
//     and where there are minima uint8 minimum (groups, 16), or both in one byte (q2_k: the scale
//     low); then, for each 32 columns, the numbers' low bits and perhaps their high bits, a plane
//     each.
// In a plane of b bits a number, byte (p, r, i) of (b, 16, 4) holds at bit b * k the number of row
// r and column 4 (8 / b * p + k) + i: four columns of a row stand together, as integer products
// want them, and one shift brings out those of all sixteen rows.
//
// So every block is as large as in the file, or a few bytes a row larger (q3_k, q4_k, q5_k, iq4_xs:
// their scales of six bits take eight), and the values are the very same.
#pragma once
#include <cstddef>
#include <cstdint>

#include "kernels/element.hpp"

namespace dlls::kernels {

inline constexpr std::size_t panel_rows = 16;

// How a quantised type is packed. Numbers are stored without a sign.
struct packing {
  std::size_t columns;  // of a block: 32 or 256
  std::size_t group;    // columns with a scale of their own: 32 or 16
  unsigned low_bits;    // of a number: 8, 4 or 2
  unsigned high_bits;   // above them: 0, 1 or 2
  bool minimum;         // has m, and in blocks of 256 a minimum a group
  int zero;             // the stored number that means 0 (after look-up, for a codebook)
  bool codebook;        // a stored number is an index of iq4_values

  constexpr std::size_t groups() const noexcept { return columns / group; }
  constexpr bool scaled() const noexcept { return columns > block_values; }
  // Scale and minimum of a group share a byte.
  constexpr bool paired() const noexcept { return minimum && group == 16; }
  // Of a whole block of sixteen rows: what stands before the numbers, the numbers of 32 columns,
  // everything.
  constexpr std::size_t head_bytes() const noexcept {
    const std::size_t each = !scaled() ? 0 : minimum && !paired() ? 2 : 1;
    return panel_rows * ((minimum ? 4 : 2) + each * groups());
  }
  constexpr std::size_t number_bytes() const noexcept {
    return block_values * panel_rows * (low_bits + high_bits) / 8;
  }
  constexpr std::size_t bytes() const noexcept {
    return head_bytes() + columns / block_values * number_bytes();
  }
  // What a stored number is multiplied by d (and scale) as.
  constexpr int value(int number) const noexcept {
    return codebook ? iq4_values[number] : number - zero;
  }
};

// Of a quantised type.
constexpr packing packing_of(element type) noexcept {
  switch (type) {
    case element::q4_0:
      return {32, 32, 4, 0, false, 8, false};
    case element::q4_1:
      return {32, 32, 4, 0, true, 0, false};
    case element::q5_0:
      return {32, 32, 4, 1, false, 16, false};
    case element::q5_1:
      return {32, 32, 4, 1, true, 0, false};
    case element::iq4_nl:
      return {32, 32, 4, 0, false, 128, true};
    case element::q2_k:
      return {256, 16, 2, 0, true, 0, false};
    case element::q3_k:
      return {256, 16, 2, 1, false, 4, false};
    case element::q4_k:
      return {256, 32, 4, 0, true, 0, false};
    case element::q5_k:
      return {256, 32, 4, 1, true, 0, false};
    case element::q6_k:
      return {256, 16, 4, 2, false, 32, false};
    case element::iq4_xs:
      return {256, 32, 4, 0, false, 128, true};
    default:
      return {32, 32, 8, 0, false, 128, false};  // q8_0
  }
}

// Bytes of `columns` columns of a panel; `columns` is a multiple of values_together(type).
constexpr std::size_t panel_bytes_of(element type, std::size_t columns) noexcept {
  if (!is_quantised(type)) return bytes_of(type, columns * panel_rows);
  const auto form = packing_of(type);
  return columns / form.columns * form.bytes();
}

// A view: whoever made the memory keeps it. `data` is aligned to 64 bytes.
struct packed_matrix {
  element type = element::f32;
  std::size_t rows = 0;
  std::size_t columns = 0;
  const std::byte* data = nullptr;

  std::size_t panels() const noexcept { return (rows + panel_rows - 1) / panel_rows; }
  std::size_t panel_bytes() const noexcept { return panel_bytes_of(type, columns); }
  std::size_t bytes() const noexcept { return panels() * panel_bytes(); }
};

// Bytes that a packed matrix takes. `columns` is a multiple of values_together(type).
std::size_t packed_bytes(element type, std::size_t rows, std::size_t columns) noexcept;

// Packs rows [0, rows) of a matrix as GGUF stores it (row after row) into `out`, which holds
// packed_bytes() and is aligned to 64.
packed_matrix pack(
    std::byte* out, element type, std::size_t rows, std::size_t columns, const std::byte* in);
// Only panels [first, last) of a matrix of that shape: several threads may pack one.
void pack_panels(
    std::byte* out, const packed_matrix& shape, std::size_t first, std::size_t last,
    const std::byte* in);

// Row `row` as float: what dequantise() makes of the file's.
void unpack_row(float* out, const packed_matrix& matrix, std::size_t row);

}  // namespace dlls::kernels

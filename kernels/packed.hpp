// Weight matrices, repacked so that one load feeds sixteen rows.
//
// Rows are taken sixteen at a time, a panel; the last panel is filled up with rows of zeros. Within
// a panel the columns follow one another:
//   f32, f16, bf16   (columns, 16) values
//   q8_0, q4_0, q4_1 (columns / 32) blocks: uint16 d[16], for q4_1 uint16 m[16], then the numbers
//     four columns a row at a time: for 4-bit types (4, 16, 4) bytes, where byte (p, r, i) holds
//     column 8 p + i of row r in its low nibble and column 8 p + 4 + i in its high one; for q8_0
//     (8, 16, 4) bytes, byte (p, r, i) = column 4 p + i of row r, plus 128.
// So every byte is as large as in the file, and the values are the very same.
#pragma once
#include <cstddef>
#include <cstdint>

#include "kernels/element.hpp"

namespace dlls::kernels {

inline constexpr std::size_t panel_rows = 16;

// A view: whoever made the memory keeps it. `data` is aligned to 64 bytes.
struct packed_matrix {
  element type = element::f32;
  std::size_t rows = 0;
  std::size_t columns = 0;
  const std::byte* data = nullptr;

  std::size_t panels() const noexcept { return (rows + panel_rows - 1) / panel_rows; }
  std::size_t panel_bytes() const noexcept { return bytes_of(type, columns * panel_rows); }
  std::size_t bytes() const noexcept { return panels() * panel_bytes(); }
};

// Bytes that a packed matrix takes. `columns` is a multiple of 32 for quantised types.
std::size_t packed_bytes(element type, std::size_t rows, std::size_t columns) noexcept;

// Packs rows [0, rows) of a matrix as GGUF stores it (row after row) into `out`, which holds
// packed_bytes() and is aligned to 64.
packed_matrix pack(
    std::byte* out, element type, std::size_t rows, std::size_t columns, const std::byte* in);

// Row `row` as float, exact.
void unpack_row(float* out, const packed_matrix& matrix, std::size_t row);

}  // namespace dlls::kernels

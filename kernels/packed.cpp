#include "kernels/packed.hpp"

#include <cstring>

#include "base/check.hpp"
#include "kernels/cpu/scalar/matmul.hpp"

namespace dlls::kernels {
namespace {

std::byte* copy_half(std::byte* out, const std::byte* in) {
  if (in == nullptr)
    std::memset(out, 0, 2);
  else
    std::memcpy(out, in, 2);
  return out + 2;
}

// One block of sixteen rows; a missing row is null.
void pack_block(std::byte* out, element type, const std::byte* const* in) {
  for (std::size_t r = 0; r < panel_rows; ++r) out = copy_half(out, in[r]);
  std::size_t head = 2;
  if (type == element::q4_1) {
    for (std::size_t r = 0; r < panel_rows; ++r) out = copy_half(out, in[r] ? in[r] + 2 : nullptr);
    head = 4;
  }
  for (std::size_t r = 0; r < panel_rows; ++r) {
    std::uint8_t column[block_values] = {};  // the row's numbers in the order of its columns
    if (in[r] != nullptr) std::memcpy(column, in[r] + head, type == element::q8_0 ? 32 : 16);
    if (type == element::q8_0) {
      for (auto& q : column) q ^= 0x80;  // int8 to int8 + 128
      for (std::size_t j = 0; j < 8; ++j) std::memcpy(out + j * 64 + r * 4, column + 4 * j, 4);
      continue;
    }
    for (std::size_t j = 0; j < 16; ++j) {
      column[j + 16] = column[j] >> 4;
      column[j] &= 15;
    }
    for (std::size_t j = 0; j < 16; ++j) {
      const auto* pair = column + j / 4 * 8 + j % 4;
      out[j / 4 * 64 + r * 4 + j % 4] = static_cast<std::byte>(pair[0] | pair[4] << 4);
    }
  }
}

}  // namespace

std::size_t packed_bytes(element type, std::size_t rows, std::size_t columns) noexcept {
  return packed_matrix{type, rows, columns, nullptr}.bytes();
}

packed_matrix pack(
    std::byte* out, element type, std::size_t rows, std::size_t columns, const std::byte* in) {
  base::check(!is_quantised(type) || columns % block_values == 0, "whole blocks in every row");
  const packed_matrix made{type, rows, columns, out};
  const auto row_bytes = bytes_of(type, columns);
  const auto unit = is_quantised(type) ? block_values : 1;  // columns that lie together in a row
  const auto unit_bytes = bytes_of(type, unit);
  for (std::size_t panel = 0; panel < made.panels(); ++panel) {
    const std::byte* row[panel_rows];
    for (std::size_t r = 0; r < panel_rows; ++r) {
      const auto index = panel * panel_rows + r;
      row[r] = index < rows ? in + index * row_bytes : nullptr;
    }
    for (std::size_t column = 0; column < columns; column += unit) {
      if (is_quantised(type)) {
        pack_block(out, type, row);
        out += bytes_of(type, block_values * panel_rows);
      }
      for (auto& from : row) {
        if (!is_quantised(type)) {
          if (from != nullptr)
            std::memcpy(out, from, unit_bytes);
          else
            std::memset(out, 0, unit_bytes);
          out += unit_bytes;
        }
        if (from != nullptr) from += unit_bytes;
      }
    }
  }
  return made;
}

void unpack_row(float* out, const packed_matrix& matrix, std::size_t row) {
  for (std::size_t i = 0; i < matrix.columns; ++i)
    out[i] = scalar::element_at<float>(matrix, row, i);
}

}  // namespace dlls::kernels

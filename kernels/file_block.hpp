// One quantised block of a file, taken apart into its whole numbers: the only place that knows how
// ggml arranges the bits of each type (file_block.cpp). Internal to this folder.
#pragma once
#include <cstddef>
#include <cstdint>

#include "kernels/packed.hpp"

namespace dlls::kernels {

// The value of number j, in group g = j / packing.group, is
//   d * scale[g] * packing.value(number[j]) + m * minimum[g]
// A block of 32 has scale and minimum 1; a type without minima leaves m and minimum as they were.
struct block_parts {
  std::uint16_t d = 0, m = 0;  // half precision; m with the sign that the sum above asks for
  std::int8_t scale[16] = {};
  std::uint8_t minimum[16] = {};
  std::uint8_t number[256] = {};  // as packed.hpp stores them, in the order of the columns
};

void take_apart(block_parts& out, element type, const std::byte* in) noexcept;
// The inverse, bytes_together(type) of them. Asking for a type that can_quantise() denies is a bug.
void put_together(std::byte* out, element type, const block_parts& in);

}  // namespace dlls::kernels

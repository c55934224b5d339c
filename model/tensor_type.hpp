// The types of tensors in GGUF files, and what the kernels call them.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "kernels/element.hpp"

namespace dlls::model {

// The types we compute with, by GGUF's own numbers. Any other number is refused with `unsupported`.
enum class tensor_type : std::uint32_t {
  f32 = 0,
  f16 = 1,
  q4_0 = 2,
  q4_1 = 3,
  q5_0 = 6,
  q5_1 = 7,
  q8_0 = 8,
  q2_k = 10,
  q3_k = 11,
  q4_k = 12,
  q5_k = 13,
  q6_k = 14,
  iq4_nl = 20,
  iq4_xs = 23,
  bf16 = 30
};

// All of them, in the order of their numbers.
std::span<const tensor_type> tensor_types() noexcept;

// Values in one block of this type, and the bytes the block takes: (1, 4) for f32, (32, 20) for
// q4_1. A row's length is a multiple of the block's. 0 for a number that is none of the above.
std::size_t block_values(tensor_type type) noexcept;
std::size_t block_bytes(tensor_type type) noexcept;
// "q4_1".
std::string_view name(tensor_type type) noexcept;

// How kernels name the layout. Asking for any other number is a bug.
kernels::element element_of(tensor_type type) noexcept;

}  // namespace dlls::model

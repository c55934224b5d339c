// Floats to the blocks of GGUF files: the inverse of dequantise() in element.hpp, as near as a type
// allows. The layouts are ggml's; how scales are searched is described in quantise.cpp.
#pragma once
#include <cstddef>

#include "kernels/element.hpp"

namespace dlls::kernels {

// f32, f16, bf16, q8_0, q4_0, q4_1, q5_0, q5_1, q4_k, q5_k, q6_k. The others are only read.
constexpr bool can_quantise(element type) noexcept {
  return type <= element::q5_1 || (type >= element::q4_k && type <= element::q6_k);
}

// n values, a multiple of values_together(type), into bytes_of(type, n) bytes; neither needs
// alignment. A block depends on its own values alone, and the same values give the same bytes.
// False when a value is NaN or infinite, or larger than half-precision scales can express; `out`
// then holds anything. Asking for a type that can_quantise() denies is a bug.
//
// Large values count more: the scales minimise sum((mean(x^2) + x^2) * (x - value)^2) of a block.
[[nodiscard]] bool quantise(std::byte* out, element type, const float* in, std::size_t n);

}  // namespace dlls::kernels

#include "kernels/element.hpp"

#include <bit>
#include <cstring>

#include "kernels/file_block.hpp"

namespace dlls::kernels {

float from_half(std::uint16_t bits) noexcept {
  const std::uint32_t sign = (bits & 0x8000u) << 16, exponent = bits >> 10 & 31,
                      part = bits & 0x3FF;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7F800000u | part << 13);
  if (exponent != 0) return std::bit_cast<float>(sign | (exponent + 112) << 23 | part << 13);
  const float tiny = static_cast<float>(part) * 0x1p-24f;  // subnormal
  return sign != 0 ? -tiny : tiny;
}

std::uint16_t to_half(float x) noexcept {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  const auto sign = static_cast<std::uint16_t>(bits >> 16 & 0x8000);
  const auto magnitude = bits & 0x7FFFFFFF;
  if (magnitude > 0x7F800000) return sign | 0x7E00;   // NaN
  if (magnitude >= 0x477FF000) return sign | 0x7C00;  // rounds to infinity
  if (magnitude < 0x38800000) {                       // subnormal: let the adder round
    const auto rounded = std::bit_cast<float>(magnitude) + 0.5f;
    return sign | static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(rounded) - 0x3F000000);
  }
  const auto even = magnitude >> 13 & 1;
  return sign | static_cast<std::uint16_t>((magnitude + 0xFFF + even - 0x38000000) >> 13);
}

float from_bfloat(std::uint16_t bits) noexcept {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}

std::uint16_t to_bfloat(float x) noexcept {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  if ((bits & 0x7FFFFFFF) > 0x7F800000) return static_cast<std::uint16_t>(bits >> 16 | 0x40);
  return static_cast<std::uint16_t>((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

namespace {

std::uint16_t half_at(const std::byte* at) noexcept {
  std::uint16_t bits;
  std::memcpy(&bits, at, 2);
  return bits;
}

void dequantise_block(float* out, element type, const std::byte* in) {
  block_parts parts;
  take_apart(parts, type, in);
  const auto form = packing_of(type);
  const float d = from_half(parts.d), m = form.minimum ? from_half(parts.m) : 0.0f;
  for (std::size_t g = 0; g < form.groups(); ++g) {
    const float scale = d * static_cast<float>(parts.scale[g]);
    const float offset = m * static_cast<float>(parts.minimum[g]);
    for (auto j = g * form.group; j < (g + 1) * form.group; ++j)
      out[j] = scale * static_cast<float>(form.value(parts.number[j])) + offset;
  }
}

}  // namespace

void dequantise(float* out, element type, const std::byte* in, std::size_t n) {
  if (type == element::f32) {
    std::memcpy(out, in, n * 4);
  } else if (is_quantised(type)) {
    for (std::size_t i = 0; i < n; i += values_together(type), in += bytes_together(type))
      dequantise_block(out + i, type, in);
  } else {
    for (std::size_t i = 0; i < n; ++i)
      out[i] =
          type == element::f16 ? from_half(half_at(in + 2 * i)) : from_bfloat(half_at(in + 2 * i));
  }
}

}  // namespace dlls::kernels

// Source of every layout here: ggml's block_q5_0, block_q2_K... and what its dequantize_row_* make
// of them. Offsets in the comments are bytes of a block.
#include "kernels/file_block.hpp"

#include <cstring>

#include "base/check.hpp"

namespace dlls::kernels {
namespace {

using bytes = const std::uint8_t*;

std::uint16_t half_at(bytes at) noexcept {
  std::uint16_t bits;
  std::memcpy(&bits, at, 2);
  return bits;
}

constexpr std::uint16_t negated(std::uint16_t half) noexcept { return half ^ 0x8000; }

// `count` bytes hold the numbers first, first + 1... in their low nibbles and those from
// first + count on in their high ones.
void nibbles(std::uint8_t* number, bytes in, std::size_t count) noexcept {
  for (std::size_t j = 0; j < count; ++j) {
    number[j] = in[j] & 15;
    number[j + count] = in[j] >> 4;
  }
}

// Adds `bits` at position `shift` of in[j % 32], one further for each 32 numbers, on top of what
// numbers [0, count) hold below bit `at`.
void add_bits(
    std::uint8_t* number, bytes in, std::size_t count, unsigned bits, unsigned shift,
    unsigned at) noexcept {
  const unsigned mask = (1u << bits) - 1;
  for (std::size_t first = 0; first < count; first += 32, shift += bits)
    for (std::size_t j = 0; j < 32; ++j)
      number[first + j] =
          static_cast<std::uint8_t>(number[first + j] | (in[j] >> shift & mask) << at);
}

// q4_0, q4_1, iq4_nl, q5_0, q5_1: d, perhaps m, perhaps a fifth bit of each number (bit j of a
// word: number j), nibbles.
void small_block(block_parts& out, bytes in, bool has_m, bool fifth) noexcept {
  out.d = half_at(in), in += 2;
  if (has_m) out.m = half_at(in), in += 2;
  std::uint32_t high = 0;
  if (fifth) std::memcpy(&high, in, 4), in += 4;
  nibbles(out.number, in, 16);
  for (std::size_t j = 0; j < block_values; ++j)
    out.number[j] = static_cast<std::uint8_t>(out.number[j] | (high >> j & 1) << 4);
}

void q8_0(block_parts& out, bytes in) noexcept {
  out.d = half_at(in);
  for (std::size_t j = 0; j < block_values; ++j) out.number[j] = in[2 + j] ^ 0x80;  // plus 128
}

// 0: scale and minimum of each 16, a nibble each; 16: numbers; 80: d; 82: m.
void q2_k(block_parts& out, bytes in) noexcept {
  for (std::size_t g = 0; g < 16; ++g) {
    out.scale[g] = static_cast<std::int8_t>(in[g] & 15);
    out.minimum[g] = in[g] >> 4;
  }
  out.d = half_at(in + 80), out.m = negated(half_at(in + 82));
  std::memset(out.number, 0, 256);
  for (std::size_t half = 0; half < 2; ++half)  // of 128 numbers: 32 bytes, two bits of each four
    add_bits(out.number + 128 * half, in + 16 + 32 * half, 128, 2, 0, 0);
}

// 0: third bits, bit k of byte j: number 32 k + j; 32: the lower two bits; 96: scales of six bits,
// the low four first; 108: d.
void q3_k(block_parts& out, bytes in) noexcept {
  std::memset(out.number, 0, 256);
  for (std::size_t half = 0; half < 2; ++half)
    add_bits(out.number + 128 * half, in + 32 + 32 * half, 128, 2, 0, 0);
  add_bits(out.number, in, 256, 1, 0, 2);
  for (std::size_t g = 0; g < 16; ++g) {
    const int low = in[96 + g % 8] >> (g < 8 ? 0 : 4) & 15;
    const int high = in[104 + g % 4] >> 2 * (g / 4) & 3;
    out.scale[g] = static_cast<std::int8_t>((low | high << 4) - 32);
  }
  out.d = half_at(in + 108);
}

// 0: d; 2: m; 4: eight scales and eight minima of six bits in twelve bytes. The first four of each
// stand in the low six bits of bytes 0-3 and 4-7, whose upper two bits belong to the last four,
// whose low nibbles stand in bytes 8-11.
void scales_of_six_bits(block_parts& out, bytes in) noexcept {
  out.d = half_at(in), out.m = negated(half_at(in + 2)), in += 4;
  for (std::size_t g = 0; g < 4; ++g) {
    out.scale[g] = in[g] & 63;
    out.minimum[g] = in[4 + g] & 63;
    out.scale[4 + g] = static_cast<std::int8_t>((in[8 + g] & 15) | in[g] >> 6 << 4);
    out.minimum[4 + g] = static_cast<std::uint8_t>(in[8 + g] >> 4 | in[4 + g] >> 6 << 4);
  }
}

// 16: nibbles, each 32 bytes hold 64 numbers.
void q4_k(block_parts& out, bytes in) noexcept {
  scales_of_six_bits(out, in);
  for (std::size_t i = 0; i < 4; ++i) nibbles(out.number + 64 * i, in + 16 + 32 * i, 32);
}

// 16: fifth bits, bit k of byte j: number 32 k + j; 48: nibbles as in q4_k.
void q5_k(block_parts& out, bytes in) noexcept {
  scales_of_six_bits(out, in);
  for (std::size_t i = 0; i < 4; ++i) nibbles(out.number + 64 * i, in + 48 + 32 * i, 32);
  add_bits(out.number, in + 16, 256, 1, 0, 4);
}

// 0: nibbles, each 64 bytes hold 128 numbers; 128: the upper two bits, each 32 bytes of 128
// numbers; 192: scales; 208: d.
void q6_k(block_parts& out, bytes in) noexcept {
  for (std::size_t half = 0; half < 2; ++half) {
    nibbles(out.number + 128 * half, in + 64 * half, 64);
    add_bits(out.number + 128 * half, in + 128 + 32 * half, 128, 2, 0, 4);
  }
  std::memcpy(out.scale, in + 192, 16);
  out.d = half_at(in + 208);
}

// 0: d; 2: upper two bits of the eight scales; 4: lower four; 8: nibbles, each 16 bytes hold 32
// numbers.
void iq4_xs(block_parts& out, bytes in) noexcept {
  out.d = half_at(in);
  const unsigned high = half_at(in + 2);
  for (std::size_t g = 0; g < 8; ++g) {
    const unsigned low = in[4 + g / 2] >> 4 * (g % 2) & 15u;
    out.scale[g] = static_cast<std::int8_t>(static_cast<int>(low | (high >> 2 * g & 3) << 4) - 32);
    nibbles(out.number + 32 * g, in + 8 + 16 * g, 16);
  }
}

// From here on the inverses.

void put_half(std::uint8_t* at, std::uint16_t half) noexcept { std::memcpy(at, &half, 2); }

void put_nibbles(std::uint8_t* out, bytes number, std::size_t count) noexcept {
  for (std::size_t j = 0; j < count; ++j)
    out[j] = static_cast<std::uint8_t>((number[j] & 15) | (number[j + count] & 15) << 4);
}

void put_bits(
    std::uint8_t* out, bytes number, std::size_t count, unsigned bits, unsigned at) noexcept {
  const unsigned mask = (1u << bits) - 1;
  std::memset(out, 0, 32);
  for (std::size_t first = 0, shift = 0; first < count; first += 32, shift += bits)
    for (std::size_t j = 0; j < 32; ++j)
      out[j] = static_cast<std::uint8_t>(out[j] | (number[first + j] >> at & mask) << shift);
}

void put_small_block(std::uint8_t* out, const block_parts& in, bool has_m, bool fifth) noexcept {
  put_half(out, in.d), out += 2;
  if (has_m) put_half(out, in.m), out += 2;
  std::uint32_t high = 0;
  for (std::size_t j = 0; j < block_values; ++j) high |= (in.number[j] >> 4 & 1u) << j;
  if (fifth) std::memcpy(out, &high, 4), out += 4;
  put_nibbles(out, in.number, 16);
}

void put_q8_0(std::uint8_t* out, const block_parts& in) noexcept {
  put_half(out, in.d);
  for (std::size_t j = 0; j < block_values; ++j) out[2 + j] = in.number[j] ^ 0x80;
}

void put_scales_of_six_bits(std::uint8_t* out, const block_parts& in) noexcept {
  put_half(out, in.d), put_half(out + 2, negated(in.m)), out += 4;
  for (std::size_t g = 0; g < 4; ++g) {
    const unsigned scale = static_cast<std::uint8_t>(in.scale[4 + g]), minimum = in.minimum[4 + g];
    out[g] = static_cast<std::uint8_t>(in.scale[g] | scale >> 4 << 6);
    out[4 + g] = static_cast<std::uint8_t>(in.minimum[g] | minimum >> 4 << 6);
    out[8 + g] = static_cast<std::uint8_t>((scale & 15) | (minimum & 15) << 4);
  }
}

void put_q4_k(std::uint8_t* out, const block_parts& in) noexcept {
  put_scales_of_six_bits(out, in);
  for (std::size_t i = 0; i < 4; ++i) put_nibbles(out + 16 + 32 * i, in.number + 64 * i, 32);
}

void put_q5_k(std::uint8_t* out, const block_parts& in) noexcept {
  put_scales_of_six_bits(out, in);
  put_bits(out + 16, in.number, 256, 1, 4);
  for (std::size_t i = 0; i < 4; ++i) put_nibbles(out + 48 + 32 * i, in.number + 64 * i, 32);
}

void put_q6_k(std::uint8_t* out, const block_parts& in) noexcept {
  for (std::size_t half = 0; half < 2; ++half) {
    put_nibbles(out + 64 * half, in.number + 128 * half, 64);
    put_bits(out + 128 + 32 * half, in.number + 128 * half, 128, 2, 4);
  }
  std::memcpy(out + 192, in.scale, 16);
  put_half(out + 208, in.d);
}

}  // namespace

void take_apart(block_parts& out, element type, const std::byte* in) noexcept {
  const auto at = reinterpret_cast<bytes>(in);
  out.scale[0] = 1, out.minimum[0] = 1;
  switch (type) {
    case element::f32:
    case element::f16:
    case element::bf16:
      return;  // no blocks
    case element::q8_0:
      return q8_0(out, at);
    case element::q4_0:
    case element::iq4_nl:
      return small_block(out, at, false, false);
    case element::q4_1:
      return small_block(out, at, true, false);
    case element::q5_0:
      return small_block(out, at, false, true);
    case element::q5_1:
      return small_block(out, at, true, true);
    case element::q2_k:
      return q2_k(out, at);
    case element::q3_k:
      return q3_k(out, at);
    case element::q4_k:
      return q4_k(out, at);
    case element::q5_k:
      return q5_k(out, at);
    case element::q6_k:
      return q6_k(out, at);
    case element::iq4_xs:
      return iq4_xs(out, at);
  }
}

void put_together(std::byte* out, element type, const block_parts& in) {
  const auto at = reinterpret_cast<std::uint8_t*>(out);
  switch (type) {
    case element::q8_0:
      return put_q8_0(at, in);
    case element::q4_0:
      return put_small_block(at, in, false, false);
    case element::q4_1:
      return put_small_block(at, in, true, false);
    case element::q5_0:
      return put_small_block(at, in, false, true);
    case element::q5_1:
      return put_small_block(at, in, true, true);
    case element::q4_k:
      return put_q4_k(at, in);
    case element::q5_k:
      return put_q5_k(at, in);
    case element::q6_k:
      return put_q6_k(at, in);
    default:
      base::check(false, "a type that is written");
  }
}

}  // namespace dlls::kernels

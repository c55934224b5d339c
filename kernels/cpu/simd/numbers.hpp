// Brings packed numbers (packed.hpp) out of their planes, on vectors of any width, and their scales
// as lanes (see tile.hpp for how these files are used).
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/packed.hpp"

namespace dlls::kernels {
namespace {

// What a codebook's indices stand for, plus 128, so that it has no sign.
struct codebook_bytes {
  std::uint8_t value[16];
  constexpr codebook_bytes() : value() {
    for (int i = 0; i < 16; ++i) value[i] = static_cast<std::uint8_t>(iq4_values[i] + 128);
  }
};
inline constexpr codebook_bytes iq4_bytes;

// Bytes [from, from + sizeof(Words)) of step `step`: of columns 4 step... 4 step + 3 of all sixteen
// rows, which are 64 bytes. `q` is where the numbers of 32 columns begin. Words is a vector of
// unsigned sixteen-bit numbers; after unrolling every shift is a constant.
template <class Words>
[[gnu::always_inline]] inline Words plane_bytes(
    const std::uint8_t* q, unsigned bits, unsigned step, std::size_t from, unsigned to) {
  const unsigned together = 8 / bits, at = bits * (step % together);
  Words all;
  std::memcpy(&all, q + 64 * (step / together) + from, sizeof all);
  if (bits == 8) return all;
  const auto mask = static_cast<unsigned short>(0x0101u * (((1u << bits) - 1) << to));
  if (at > to)
    all = all >> static_cast<int>(at - to);
  else if (at < to)
    all = all << static_cast<int>(to - at);
  return all & mask;
}

template <element Type, class Words>
[[gnu::always_inline]] inline Words step_bytes(
    const std::uint8_t* q, unsigned step, std::size_t from) {
  constexpr auto form = packing_of(Type);
  const auto low = plane_bytes<Words>(q, form.low_bits, step, from, 0);
  if constexpr (form.high_bits == 0)
    return low;
  else
    return low |
           plane_bytes<Words>(q + 64 * form.low_bits, form.high_bits, step, from, form.low_bits);
}

DLLS_LANES __m128i sixteen_bytes(const void* at) {
  return _mm_loadu_si128(static_cast<const __m128i*>(at));
}

// What the stored numbers of a group are multiplied by, and what a stored 0 stands for.
struct group_scale {
  lanes d, zero;
};

// `d` and `m` are the block's, `scales` stand behind them.
template <element Type>
DLLS_LANES group_scale scale_of(lanes d, lanes m, const std::byte* scales, std::size_t group) {
  constexpr auto form = packing_of(Type);
  if constexpr (form.scaled()) {
    const __m128i bytes = sixteen_bytes(scales + panel_rows * group);
    if constexpr (form.paired()) {
      const __m128i low = _mm_set1_epi8(15);
      d = lanes::mul(d, lanes::from_bytes(_mm_and_si128(bytes, low)));
      m = lanes::mul(m, lanes::from_bytes(_mm_and_si128(_mm_srli_epi16(bytes, 4), low)));
    } else {
      d = lanes::mul(d, lanes::from_signed_bytes(bytes));
      if constexpr (form.minimum)
        m = lanes::mul(
            m, lanes::from_bytes(sixteen_bytes(scales + panel_rows * (form.groups() + group))));
    }
  }
  if constexpr (!form.minimum) m = lanes::mul(d, lanes::all(static_cast<float>(-form.zero)));
  return {d, m};
}

// fn.template operator()<Type>() for a quantised type.
template <class Fn>
DLLS_LANES void with_quantised(element type, Fn fn) {
  switch (type) {
    case element::q4_0:
      return fn.template operator()<element::q4_0>();
    case element::q4_1:
      return fn.template operator()<element::q4_1>();
    case element::q5_0:
      return fn.template operator()<element::q5_0>();
    case element::q5_1:
      return fn.template operator()<element::q5_1>();
    case element::iq4_nl:
      return fn.template operator()<element::iq4_nl>();
    case element::q2_k:
      return fn.template operator()<element::q2_k>();
    case element::q3_k:
      return fn.template operator()<element::q3_k>();
    case element::q4_k:
      return fn.template operator()<element::q4_k>();
    case element::q5_k:
      return fn.template operator()<element::q5_k>();
    case element::q6_k:
      return fn.template operator()<element::q6_k>();
    case element::iq4_xs:
      return fn.template operator()<element::iq4_xs>();
    default:
      return fn.template operator()<element::q8_0>();
  }
}

}  // namespace
}  // namespace dlls::kernels

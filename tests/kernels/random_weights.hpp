// Random weight matrices of every element type, as a file stores them and packed.
#pragma once
#include <cstring>
#include <vector>

#include "base/random.hpp"
#include "kernels/memory.hpp"
#include "kernels/packed.hpp"

namespace dlls::test {

inline constexpr kernels::element all_elements[] = {
    kernels::element::f32,  kernels::element::f16,  kernels::element::bf16,
    kernels::element::q8_0, kernels::element::q4_0, kernels::element::q4_1,
    kernels::element::q5_0, kernels::element::q5_1, kernels::element::iq4_nl,
    kernels::element::q2_k, kernels::element::q3_k, kernels::element::q4_k,
    kernels::element::q5_k, kernels::element::q6_k, kernels::element::iq4_xs};

// Where a block of a file keeps its scale d and, or nowhere, its m: offsets in bytes.
struct half_places {
  static constexpr std::size_t nowhere = ~std::size_t{0};
  std::size_t d = 0, m = nowhere;
  float size = 1;  // of the largest number that d is multiplied by
};
inline half_places places_of(kernels::element type) {
  using kernels::element;
  switch (type) {
    case element::q4_0:
      return {.size = 8};
    case element::q4_1:
      return {.m = 2, .size = 15};
    case element::q5_0:
      return {.size = 16};
    case element::q5_1:
      return {.m = 2, .size = 31};
    case element::q2_k:
      return {.d = 80, .m = 82, .size = 15 * 3};
    case element::q3_k:
      return {.d = 108, .size = 32 * 4};
    case element::q4_k:
      return {.m = 2, .size = 63 * 15};
    case element::q5_k:
      return {.m = 2, .size = 63 * 31};
    case element::q6_k:
      return {.d = 208, .size = 128 * 32};
    case element::iq4_xs:
      return {.size = 32 * 127};
    default:
      return {.size = 127};  // q8_0, iq4_nl
  }
}

struct random_weights {
  std::vector<std::byte> raw;
  kernels::huge_buffer memory;
  kernels::packed_matrix packed;

  random_weights(
      kernels::element type, std::size_t rows, std::size_t columns, base::random_source& random)
      : raw(kernels::bytes_of(type, rows * columns)),
        memory(kernels::packed_bytes(type, rows, columns), false) {
    fill(type, random);
    packed = kernels::pack(memory.data(), type, rows, columns, raw.data());
  }

 private:
  void put_half(std::size_t at, float value) {
    const auto bits = kernels::to_half(value);
    std::memcpy(raw.data() + at, &bits, 2);
  }

  // Values of about 1; quantised numbers take their whole range, extremes included.
  void fill(kernels::element type, base::random_source& random) {
    const auto real = [&] { return static_cast<float>(2 * random.uniform() - 1); };
    if (type == kernels::element::f32) {
      for (std::size_t i = 0; i < raw.size(); i += 4) {
        const float value = real();
        std::memcpy(raw.data() + i, &value, 4);
      }
    } else if (!kernels::is_quantised(type)) {
      for (std::size_t i = 0; i < raw.size(); i += 2) {
        const auto bits =
            type == kernels::element::f16 ? kernels::to_half(real()) : kernels::to_bfloat(real());
        std::memcpy(raw.data() + i, &bits, 2);
      }
    } else {
      const bool extreme = random.below(4) == 0;  // all numbers at one end
      for (auto& b : raw) b = extreme ? std::byte{0xFF} : static_cast<std::byte>(random() >> 56);
      put_scales(
          type, [&] { return 1.5f + real(); }, real);
    }
  }

 public:
  // Sets every block's d to scale() over the largest number, its m to minimum() in the same way.
  template <class Scale, class Minimum>
  void put_scales(kernels::element type, Scale scale, Minimum minimum) {
    const auto places = places_of(type);
    const float minimum_size = type == kernels::element::q2_k          ? 15
                               : kernels::values_together(type) == 256 ? 63
                                                                       : 1;
    for (std::size_t at = 0; at < raw.size(); at += kernels::bytes_together(type)) {
      put_half(at + places.d, scale() / places.size);
      if (places.m != places.nowhere) put_half(at + places.m, minimum() / minimum_size);
    }
  }
};

}  // namespace dlls::test

// Random weight matrices of every element type, as a file stores them and packed.
#pragma once
#include <cstring>
#include <vector>

#include "base/random.hpp"
#include "kernels/memory.hpp"
#include "kernels/packed.hpp"

namespace dlls::test {

inline constexpr kernels::element all_elements[] = {kernels::element::f32,  kernels::element::f16,
                                                    kernels::element::bf16, kernels::element::q8_0,
                                                    kernels::element::q4_0, kernels::element::q4_1};

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
      const float scale = type == kernels::element::q8_0 ? 1.0f / 128 : 1.0f / 8;
      const auto block = kernels::bytes_of(type, kernels::block_values);
      for (std::size_t at = 0; at < raw.size(); at += block) {
        put_half(at, scale * (1.5f + real()));
        if (type == kernels::element::q4_1) put_half(at + 2, real());
      }
    }
  }
};

}  // namespace dlls::test

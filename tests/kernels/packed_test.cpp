#include "kernels/packed.hpp"

#include <algorithm>
#include <bit>
#include <catch2/catch.hpp>
#include <cmath>
#include <limits>

#include "kernels/memory.hpp"
#include "tests/kernels/kernel_cases.hpp"
#include "tests/kernels/random_weights.hpp"

namespace dlls::kernels {
namespace {

TEST_CASE("a packed matrix gives back the values of the file, exactly") {
  const auto seed = test::fresh_seed();
  INFO("seed " << seed);
  base::random_source random(seed);
  for (const auto type : test::all_elements)
    for (const std::size_t rows : {1, 15, 16, 17, 48, 50})
      for (const std::size_t some : {1, 3}) {
        const auto columns = some * std::max(values_together(type), block_values);
        const test::random_weights w(type, rows, columns, random);
        std::vector<float> expected(columns), got(columns);
        const auto row_bytes = bytes_of(type, columns);
        for (std::size_t r = 0; r < rows; ++r) {
          dequantise(expected.data(), type, w.raw.data() + r * row_bytes, columns);
          unpack_row(got.data(), w.packed, r);
          REQUIRE(got == expected);
        }
        CHECK(w.packed.bytes() == packed_bytes(type, rows, columns));
        huge_buffer pieces(w.packed.bytes(), false);
        for (auto panel = w.packed.panels(); panel-- > 0;)
          pack_panels(pieces.data(), w.packed, panel, panel + 1, w.raw.data());
        CHECK(std::equal(pieces.data(), pieces.data() + w.packed.bytes(), w.packed.data));
      }
}

TEST_CASE("half precision survives the way there and back for every bit pattern") {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto half = static_cast<std::uint16_t>(bits);
    const float value = from_half(half);
    if (std::isnan(value))
      REQUIRE(std::isnan(from_half(to_half(value))));
    else
      REQUIRE(to_half(value) == half);
    const float wide = from_bfloat(half);
    if (std::isnan(wide))
      REQUIRE(std::isnan(from_bfloat(to_bfloat(wide))));
    else
      REQUIRE(to_bfloat(wide) == half);
  }
}

TEST_CASE("half precision rounds to the nearest, ties to even, and overflows to infinity") {
  CHECK(to_half(1.0f) == 0x3C00);
  CHECK(to_half(1.0f + 0x1p-11f) == 0x3C00);             // a tie, down to even
  CHECK(to_half(1.0f + 0x1p-10f + 0x1p-11f) == 0x3C02);  // a tie, up to even
  CHECK(to_half(65504.0f) == 0x7BFF);
  CHECK(to_half(65519.0f) == 0x7BFF);
  CHECK(to_half(65520.0f) == 0x7C00);
  CHECK(to_half(-INFINITY) == 0xFC00);
  CHECK(to_half(0x1p-24f) == 1);
  CHECK(to_half(0x1p-25f) == 0);  // a tie between 0 and the smallest
  CHECK(to_half(0x1.8p-25f) == 1);
  CHECK(to_half(-0.0f) == 0x8000);
  CHECK(to_bfloat(1.0f + 0x1p-8f) == 0x3F80);
  CHECK(to_bfloat(std::numeric_limits<float>::max()) == 0x7F80);
}

TEST_CASE("a huge buffer is zeroed, aligned and moves") {
  huge_buffer first((2u << 20) + 17);
  REQUIRE(first.data() != nullptr);
  CHECK(reinterpret_cast<std::uintptr_t>(first.data()) % (2u << 20) == 0);
  CHECK(first.data()[(2u << 20) + 16] == std::byte{0});
  auto* const at = first.data();
  const huge_buffer second(std::move(first));
  CHECK(second.data() == at);
  CHECK(huge_buffer(0).data() == nullptr);
}

}  // namespace
}  // namespace dlls::kernels

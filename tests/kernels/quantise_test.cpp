#include "kernels/quantise.hpp"

#include <catch2/catch.hpp>
#include <cmath>
#include <limits>

#include "tests/kernels/kernel_cases.hpp"
#include "tests/kernels/random_weights.hpp"

namespace dlls::kernels {
namespace {

constexpr element quantised_types[] = {element::q8_0, element::q4_0, element::q4_1, element::q5_0,
                                       element::q5_1, element::q4_k, element::q5_k, element::q6_k};

std::vector<float> there_and_back(element type, const std::vector<float>& x) {
  std::vector<std::byte> file(bytes_of(type, x.size()));
  std::vector<float> back(x.size());
  REQUIRE(quantise(file.data(), type, x.data(), x.size()));
  dequantise(back.data(), type, file.data(), x.size());
  return back;
}

double squared_error(const std::vector<float>& x, const std::vector<float>& y) {
  double sum = 0;
  for (std::size_t i = 0; i < x.size(); ++i) sum += (double{x[i]} - y[i]) * (double{x[i]} - y[i]);
  return sum;
}

// The sum of four uniforms: near enough to normal, like weights.
std::vector<float> like_weights(base::random_source& random, std::size_t n, double size) {
  std::vector<float> x(n);
  for (auto& v : x)
    v = static_cast<float>(
        size * (random.uniform() + random.uniform() + random.uniform() + random.uniform() - 2));
  return x;
}

// Whole numbers between the least and the most a group of 16 or 32 values has, with exact scales:
// the error of simple rounding, which pays nothing for halves or for scales of six bits.
double simple_error(element type, const std::vector<float>& x) {
  const auto form = packing_of(type);
  const int top = (1 << (form.low_bits + form.high_bits)) - 1;
  std::vector<float> y(x.size());
  for (std::size_t at = 0; at < x.size(); at += form.group) {
    const auto [least, most] = std::minmax_element(&x[at], &x[at] + form.group);
    const double extreme = std::max(std::abs(*least), std::abs(*most));
    const double d = form.minimum ? (double{*most} - *least) / top : 2 * extreme / (top - 1);
    const double m = form.minimum ? double{*least} : 0;
    for (auto j = at; j < at + form.group; ++j)
      y[j] =
          d == 0 ? static_cast<float>(m) : static_cast<float>(m + d * std::round((x[j] - m) / d));
  }
  return squared_error(x, y);
}

TEST_CASE("quantised weights are nearer than simple rounding with exact scales") {
  const auto seed = test::fresh_seed();
  INFO("seed " << seed);
  base::random_source random(seed);
  for (const double size : {1e-3, 0.02, 1.0, 300.0}) {
    const auto x = like_weights(random, 256 * 64, size);
    for (const auto type : quantised_types) {
      CAPTURE(static_cast<int>(type), size);
      // What the halves cost weighs most where the numbers are fine, and those of K types have
      // scales of six or eight bits instead of exact ones.
      const double allowed = type == element::q8_0 ? 1.01 : values_together(type) == 256 ? 1.05 : 1;
      const double error = squared_error(x, there_and_back(type, x));
      CHECK(error <= allowed * simple_error(type, x));
    }
  }
}

TEST_CASE("no value is further off than a step of its block") {
  const auto seed = test::fresh_seed();
  INFO("seed " << seed);
  base::random_source random(seed);
  for (const auto type : quantised_types) {
    const auto n = values_together(type);
    const auto form = packing_of(type);
    const int numbers = 1 << (form.low_bits + form.high_bits);
    for (int round = 0; round < 200; ++round) {
      // From even to nearly all of it in one value.
      auto x = like_weights(random, n, 1);
      for (auto& v : x) v *= std::pow(std::abs(v), static_cast<float>(round % 8));
      const auto y = there_and_back(type, x);
      float extreme = 0, off = 0;
      for (std::size_t j = 0; j < n; ++j) {
        extreme = std::max(extreme, std::abs(x[j]));
        off = std::max(off, std::abs(x[j] - y[j]));
      }
      CAPTURE(static_cast<int>(type), round, extreme);
      CHECK(off <= 2 * extreme / static_cast<float>(numbers) * 1.5f);
    }
  }
}

TEST_CASE("what a type can say exactly survives") {
  for (const auto type : quantised_types) {
    CAPTURE(static_cast<int>(type));
    const auto n = values_together(type);
    CHECK(there_and_back(type, std::vector<float>(n, 0.0f)) == std::vector<float>(n, 0.0f));
    std::vector<float> one(n, 0.0f);
    one[7] = -0.5f;
    CHECK(std::abs(there_and_back(type, one)[7] + 0.5f) <= 0.002f);
    // Every number of the type, with a scale that is a power of two.
    const auto form = packing_of(type);
    const int top = (1 << (form.low_bits + form.high_bits)) - 1;
    std::vector<float> all(n);
    for (std::size_t j = 0; j < n; ++j) {
      const int number = static_cast<int>(j * 37) % (top + 1) - form.zero;
      all[j] = 0.25f * static_cast<float>(std::max(number, -127));
    }
    if (!form.scaled()) all[1] = 0.25f * static_cast<float>(-std::min(form.zero, 127));
    const auto back = there_and_back(type, all);
    for (std::size_t j = 0; j < n; ++j) CHECK(std::abs(back[j] - all[j]) <= 0.13f);
  }
}

TEST_CASE("the smallest and largest sizes are kept in proportion") {
  const auto seed = test::fresh_seed();
  INFO("seed " << seed);
  base::random_source random(seed);
  for (const auto type : quantised_types)
    for (const double size : {1e-38, 1e-20, 2e-4, 1e4}) {
      CAPTURE(static_cast<int>(type), size);
      const auto x = like_weights(random, 256, size);
      const auto y = there_and_back(type, x);
      double whole = 0;
      for (const auto v : x) whole += double{v} * v;
      // Below what half-precision scales reach, zeros are the best there is.
      CHECK(squared_error(x, y) <= (size < 1e-10 ? 1.0 : 0.2) * whole);
    }
}

TEST_CASE("a value that is no number, infinite or too large is refused") {
  constexpr float infinite = std::numeric_limits<float>::infinity();
  for (const auto type : quantised_types)
    for (const float bad : {std::nanf(""), infinite, -infinite, 3e38f, -1e12f}) {
      CAPTURE(static_cast<int>(type), bad);
      std::vector<float> x(256, 0.5f);
      x[200] = bad;
      std::vector<std::byte> file(bytes_of(type, x.size()));
      CHECK_FALSE(quantise(file.data(), type, x.data(), x.size()));
    }
  for (const auto type : {element::f16, element::bf16, element::f32}) {
    const float bad[] = {1, infinite}, good[] = {1, -2};
    std::byte file[8];
    CHECK_FALSE(quantise(file, type, bad, 2));
    CHECK(quantise(file, type, good, 2));
  }
  const float large[] = {65520};
  std::byte file[2];
  CHECK_FALSE(quantise(file, element::f16, large, 1));
}

TEST_CASE("blocks of any bits survive being read and written again, where the scales are whole") {
  // Values that come from a file of the type are said by it again to within a hundredth of a step.
  const auto seed = test::fresh_seed();
  INFO("seed " << seed);
  base::random_source random(seed);
  for (const auto type : quantised_types) {
    CAPTURE(static_cast<int>(type));
    const auto first = there_and_back(type, like_weights(random, 256 * 16, 0.05));
    const auto second = there_and_back(type, first);
    double whole = 0;
    for (const auto v : first) whole += double{v} * v;
    CHECK(squared_error(first, second) <= 1e-3 * whole);
  }
}

}  // namespace
}  // namespace dlls::kernels

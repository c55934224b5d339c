// Every instruction set against the scalar twin in double precision.
#include <catch2/catch.hpp>
#include <cmath>
#include <limits>

#include "kernels/cpu/scalar/matmul.hpp"
#include "kernels/cpu/scalar/rows.hpp"
#include "kernels/ops.hpp"
#include "tests/kernels/kernel_cases.hpp"
#include "tests/kernels/random_weights.hpp"

namespace dlls::kernels {
namespace {

struct sizes {
  std::size_t rows, columns, n;
};

// Few and many activation rows, whole and broken panels, one block and many, longer than what is
// decoded at once.
constexpr sizes all_sizes[] = {{16, 32, 1},  {17, 64, 2},   {1, 96, 3},   {48, 32, 4},
                               {31, 352, 5}, {64, 288, 13}, {33, 64, 25}, {16, 544, 61}};

// The same for weights in blocks of 256: columns are whole blocks.
sizes fitted(element type, sizes s) {
  const auto unit = values_together(type);
  s.columns = (s.columns + unit - 1) / unit * unit;
  return s;
}

std::vector<q8_block> quantised(const std::vector<float>& x) {
  std::vector<q8_block> made(x.size() / block_values);
  scalar::quantise_q8(made.data(), x.data(), x.size());
  return made;
}

// The magnitudes that a kernel adds up for element (row, column): a quantised weight is a scaled
// number and an offset, which may be far larger than their sum.
double magnitude_at(const packed_matrix& w, std::size_t row, std::size_t column) {
  if (!is_quantised(w.type)) return std::fabs(double{scalar::float_at(w, row, column)});
  const auto block = scalar::block_at(w, row, column);
  const auto within = column % block.form.columns, group = within / block.form.group;
  const double scale = block.scale<double>(group), zero = block.form.zero;
  return std::fabs(scale) * (block.value(within) + zero) + std::fabs(scale * zero) +
         std::fabs(block.minimum<double>(group));
}

// The worst error over its bound. The first-order bound of a sum of n rounded terms is n * u times
// the sum of their magnitudes (Higham, Accuracy and Stability of Numerical Algorithms, 4.2), u
// being half of float's epsilon; roundings that don't conspire grow with the square root of n
// (Higham and Mary, A New Approach to Probabilistic Rounding Error Analysis), which is what is
// allowed here.
double worst_over_bound(
    const test::random_weights& w, const sizes& s, const std::vector<double>& x,
    std::span<const float> y, const std::vector<double>& expected, double before) {
  const double u = std::numeric_limits<float>::epsilon() / 2;
  const std::size_t stride = y.size() / s.n;
  double worst = 0;
  for (std::size_t i = 0; i < s.n; ++i)
    for (std::size_t row = 0; row < stride; ++row) {
      const auto at = i * stride + row;
      const double off = std::fabs(double{y[at]} - expected[at]);
      if (row >= s.rows) {
        if (off != 0) return INFINITY;  // beyond the product: untouched
        continue;
      }
      double sum = before;
      for (std::size_t j = 0; j < s.columns; ++j)
        sum += magnitude_at(w.packed, row, j) * std::fabs(x[i * s.columns + j]);
      if (off == 0) continue;
      const double over = off / (std::sqrt(static_cast<double>(s.columns) + 2) * u * sum);
      if (!(over <= worst)) worst = std::isnan(over) ? INFINITY : over;
    }
  return worst;
}

// y starts as 0.25.
void check_product(
    const test::random_weights& w, const sizes& s, const std::vector<float>& x, bool q8,
    bool accumulate, std::size_t threads) {
  thread_pool pool(threads);
  const std::size_t stride = s.rows + 5;
  test::guarded<float> y(s.n * stride);
  std::vector<double> expected(s.n * stride);
  for (std::size_t i = 0; i < expected.size(); ++i) expected[i] = y[i] = 0.25f;
  const auto blocks = quantised(x);
  const auto wide = test::widened(x);
  const auto panels = w.packed.panels();
  if (q8)
    scalar::matmul_q8<double>(
        {expected.data(), stride, &w.packed, 0, panels, blocks.data(), s.n, accumulate});
  else
    scalar::matmul<double>(
        {expected.data(), stride, &w.packed, 0, panels, wide.data(), s.n, accumulate});
  const product p[] = {{y.data(), stride, &w.packed, accumulate}};
  matmul(pool, p, {x.data(), q8 ? blocks.data() : nullptr, s.n, s.columns});
  CHECK(y.intact());
  auto seen = wide;  // the activations as the kernel gets them
  if (q8)
    for (std::size_t i = 0; i < seen.size(); ++i)
      seen[i] = double{blocks[i / block_values].d} * blocks[i / block_values].q[i % block_values];
  const auto worst = worst_over_bound(w, s, seen, y.values(), expected, accumulate ? 0.25 : 0);
  CHECK(worst <= 1);
}

TEST_CASE("products of every weight type agree with double precision") {
  const auto seed = test::fresh_seed();
  INFO("seed " << seed);
  test::with_each_isa([&](const inference_ops&) {
    base::random_source random(seed);
    for (const auto type : test::all_elements)
      for (const auto& any : all_sizes) {
        const auto s = fitted(type, any);
        INFO(
            "type " << static_cast<int>(type) << ", weights (" << s.rows << ", " << s.columns
                    << "), rows " << s.n);
        const test::random_weights w(type, s.rows, s.columns, random);
        const auto x = test::random_floats(random, s.n * s.columns);
        for (const bool accumulate : {false, true})
          for (const std::size_t threads : {1, 2}) {
            check_product(w, s, x, false, accumulate, threads);
            if (is_quantised(type)) check_product(w, s, x, true, accumulate, threads);
          }
      }
  });
}

// Continuous batching and chunked prefill rest on it.
TEST_CASE("a row's product does not depend on the rows beside it") {
  const auto seed = test::fresh_seed();
  INFO("seed " << seed);
  test::with_each_isa([&](const inference_ops&) {
    base::random_source random(seed);
    for (const auto type : test::all_elements)
      for (const auto& any : {sizes{33, 64, 25}, sizes{70, 544, 61}}) {
        const auto s = fitted(type, any);
        INFO(
            "type " << static_cast<int>(type) << ", weights (" << s.rows << ", " << s.columns
                    << ")");
        const test::random_weights w(type, s.rows, s.columns, random);
        const auto x = test::random_floats(random, s.n * s.columns);
        const auto blocks = quantised(x);
        thread_pool pool(2);
        for (const bool q8 : {false, true}) {
          if (q8 && !is_quantised(type)) continue;
          const auto rows_into = [&](std::vector<float>& y, std::size_t begin, std::size_t n) {
            const product p[] = {{&y[begin * s.rows], s.rows, &w.packed, false}};
            const auto* q = q8 ? &blocks[begin * s.columns / block_values] : nullptr;
            matmul(pool, p, {&x[begin * s.columns], q, n, s.columns});
          };
          std::vector<float> together(s.n * s.rows), alone(together.size());
          for (std::size_t row = 0; row < s.n; ++row) rows_into(alone, row, 1);
          for (std::size_t row = 0; row < s.n;) {
            const auto n = 1 + random.below(s.n - row);
            rows_into(together, row, n);
            row += n;
          }
          CHECK(test::worst_error(together, alone) == 0);
        }
      }
  });
}

TEST_CASE("columns that are no multiple of anything work for float weights") {
  base::random_source random(5);
  test::with_each_isa([&](const inference_ops&) {
    for (const auto type : {element::f32, element::f16, element::bf16})
      for (const std::size_t columns : {1, 7, 33, 259}) {
        const sizes s{19, columns, 14};
        const test::random_weights w(type, s.rows, s.columns, random);
        check_product(w, s, test::random_floats(random, s.n * s.columns), false, false, 2);
      }
  });
}

TEST_CASE("integer sums survive the largest weights and activations") {
  base::random_source random(9);
  test::with_each_isa([&](const inference_ops&) {
    for (const auto type : test::all_elements) {
      if (!is_quantised(type)) continue;
      INFO("type " << static_cast<int>(type));
      const sizes s = fitted(type, {16, 128, 5});
      test::random_weights w(type, s.rows, s.columns, random);
      for (const int byte : {0xFF, 0x00, 0x80, 0x7F, 0xF0, 0x0F}) {
        std::fill(w.raw.begin(), w.raw.end(), static_cast<std::byte>(byte));
        w.put_scales(
            type, [] { return 1.0f; }, [] { return 1.0f; });
        w.packed = pack(w.memory.data(), type, s.rows, s.columns, w.raw.data());
        for (const float sign : {1.0f, -1.0f})
          check_product(w, s, std::vector<float>(s.n * s.columns, sign), true, false, 1);
      }
    }
  });
}

TEST_CASE("several products in one region land where each belongs") {
  base::random_source random(11);
  test::with_each_isa([&](const inference_ops&) {
    const std::size_t columns = 64, n = 3;
    const test::random_weights a(element::q4_1, 40, columns, random);
    const test::random_weights b(element::f16, 7, columns, random);
    const test::random_weights c(element::q8_0, 100, columns, random);
    const auto x = test::random_floats(random, n * columns);
    const auto blocks = quantised(x);
    thread_pool pool(2);
    test::guarded<float> together[] = {
        test::guarded<float>(n * 40), test::guarded<float>(n * 7), test::guarded<float>(n * 100)};
    const packed_matrix* weights[] = {&a.packed, &b.packed, &c.packed};
    std::vector<product> products;
    for (int i = 0; i < 3; ++i)
      products.push_back({together[i].data(), weights[i]->rows, weights[i], false});
    matmul(pool, products, {x.data(), blocks.data(), n, columns});
    for (int i = 0; i < 3; ++i) {
      std::vector<float> alone(n * weights[i]->rows);
      const product one[] = {{alone.data(), weights[i]->rows, weights[i], false}};
      matmul(pool, one, {x.data(), blocks.data(), n, columns});
      CHECK(together[i].intact());
      CHECK(std::equal(alone.begin(), alone.end(), together[i].data()));
    }
  });
}

TEST_CASE("a product does not depend on the number of threads") {
  base::random_source random(13);
  const test::random_weights w(element::q4_1, 333, 96, random);
  const auto x = test::random_floats(random, 70 * 96);
  const auto blocks = quantised(x);
  test::with_each_isa([&](const inference_ops&) {
    std::vector<float> results[2];
    for (const std::size_t threads : {1, 3}) {
      auto& y = results[threads / 2];
      y.resize(70 * 333);
      thread_pool pool(threads);
      const product p[] = {{y.data(), 333, &w.packed, false}};
      matmul(pool, p, {x.data(), blocks.data(), 70, 96});
    }
    CHECK(results[0] == results[1]);
  });
}

}  // namespace
}  // namespace dlls::kernels

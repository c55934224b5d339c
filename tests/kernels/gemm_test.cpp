#include "kernels/gemm.hpp"

#include <catch2/catch.hpp>
#include <cmath>

#include "tests/kernels/kernel_cases.hpp"

namespace dlls::kernels {
namespace {

struct gemm_case {
  transpose a, b;
  std::size_t m, n, k;
  float alpha, beta;
};

// The product in double, one element at a time.
double element_of(
    const gemm_case& g, const std::vector<float>& a, std::size_t lda, const std::vector<float>& b,
    std::size_t ldb, double before, std::size_t i, std::size_t j) {
  double sum = 0;
  for (std::size_t l = 0; l < g.k; ++l) {
    const double left = g.a == transpose::yes ? a[l * lda + i] : a[i * lda + l];
    const double right = g.b == transpose::yes ? b[j * ldb + l] : b[l * ldb + j];
    sum += left * right;
  }
  return g.alpha * sum + (g.beta == 0 ? 0 : g.beta * before);
}

void check_gemm(const gemm_case& g, std::size_t threads, base::random_source& random) {
  thread_pool pool(threads);
  const std::size_t lda = (g.a == transpose::yes ? g.m : g.k) + 3;
  const std::size_t ldb = (g.b == transpose::yes ? g.k : g.n) + 1, ldc = g.n + 2;
  const auto a = test::random_floats(random, (g.a == transpose::yes ? g.k : g.m) * lda);
  const auto b = test::random_floats(random, (g.b == transpose::yes ? g.n : g.k) * ldb);
  test::guarded<float> c(g.m * ldc);
  const auto before = test::random_floats(random, g.m * ldc);
  std::copy(before.begin(), before.end(), c.data());
  if (g.beta == 0 && g.m * g.n > 0) c[0] = NAN;  // must not be read
  sgemm(
      pool, g.a, g.b, g.m, g.n, g.k, g.alpha, a.data(), lda, b.data(), ldb, g.beta, c.data(), ldc);
  CHECK(c.intact());
  double worst = 0;
  bool gaps = true;
  for (std::size_t i = 0; i < g.m; ++i) {
    for (std::size_t j = 0; j < ldc; ++j) {
      const double was = before[i * ldc + j], is = c[i * ldc + j];
      if (j >= g.n) {
        gaps = gaps && is == was;
        continue;
      }
      const double off = std::fabs(is - element_of(g, a, lda, b, ldb, was, i, j));
      worst = off <= worst ? worst : off;
    }
  }
  CHECK(gaps);  // what lies between the rows of C is nobody's business
  CHECK(worst <= 1e-6 * (static_cast<double>(g.k) + 1));
}

TEST_CASE("sgemm agrees with double precision for every transposition and odd sizes") {
  const auto seed = test::fresh_seed();
  INFO("seed " << seed);
  base::random_source random(seed);
  for (const auto a : {transpose::no, transpose::yes})
    for (const auto b : {transpose::no, transpose::yes})
      for (const std::size_t threads : {1, 2, 3})
        for (int repeat = 0; repeat < 6; ++repeat) {
          const gemm_case g{
              a,
              b,
              random.below(70),
              random.below(70),
              random.below(90),
              repeat % 2 == 0 ? 1.0f : 0.5f,
              static_cast<float>(repeat % 3)};
          INFO("m " << g.m << " n " << g.n << " k " << g.k << " threads " << threads);
          check_gemm(g, threads, random);
        }
}

TEST_CASE("sgemm gives the same bits twice with the same number of threads") {
  base::random_source random(3);
  const auto a = test::random_floats(random, 130 * 300), b = test::random_floats(random, 300 * 70);
  std::vector<float> first(130 * 70), second(130 * 70);
  thread_pool pool(2);
  for (auto* c : {&first, &second})
    sgemm(
        pool, transpose::no, transpose::no, 130, 70, 300, 1, a.data(), 300, b.data(), 70, 0,
        c->data(), 70);
  CHECK(first == second);
}

}  // namespace
}  // namespace dlls::kernels

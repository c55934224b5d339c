// How fast sgemm is for the shapes of training: on one thread, in its processor time.
#include <fmt/core.h>
#include <time.h>

#include <algorithm>
#include <vector>

#include "base/random.hpp"
#include "kernels/gemm.hpp"

namespace dlls::kernels {
namespace {

double cpu_seconds() {
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

void measure(transpose ta, transpose tb, std::size_t m, std::size_t n, std::size_t k) {
  thread_pool pool(1);
  base::random_source random(1);
  std::vector<float> a(m * k), b(k * n), c(m * n);
  for (auto& x : a) x = static_cast<float>(random.uniform() - 0.5);
  for (auto& x : b) x = static_cast<float>(random.uniform() - 0.5);
  const auto lda = ta == transpose::yes ? m : k, ldb = tb == transpose::yes ? k : n;
  double best = 1e9;
  for (int run = 0; run < 7; ++run) {
    const double start = cpu_seconds();
    sgemm(pool, ta, tb, m, n, k, 1, a.data(), lda, b.data(), ldb, 0, c.data(), n);
    if (run > 0) best = std::min(best, cpu_seconds() - start);
  }
  fmt::print(
      "{}{} m={:<5} n={:<5} k={:<5} {:7.1f} GFLOP/s\n", ta == transpose::yes ? 'T' : 'N',
      tb == transpose::yes ? 'T' : 'N', m, n, k, 2e-9 * static_cast<double>(m * n * k) / best);
}

}  // namespace
}  // namespace dlls::kernels

int main() {
  using namespace dlls::kernels;
  constexpr auto no = transpose::no, yes = transpose::yes;
  fmt::print("sgemm, one thread; x W^T, dy W, dy^T x\n");
  for (const std::size_t tokens : {64, 419, 1024}) {
    measure(no, yes, tokens, 1536, 576);
    measure(no, no, tokens, 576, 1536);
    measure(yes, no, 1536, 576, tokens);
  }
  measure(no, yes, 64, 8192, 576);
}

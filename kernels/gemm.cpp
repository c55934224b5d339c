#include "kernels/gemm.hpp"

#include <omp.h>

#include <algorithm>

#include "base/check.hpp"
#include "oneapi/dnnl/dnnl.h"

namespace dlls::kernels {
namespace {

// oneDNN would start threads of its own; every thread of ours asks it for one, once.
void one_thread_a_call() noexcept {
  thread_local bool told = false;
  if (!told) omp_set_num_threads(1), told = true;
}

void scale(float* c, std::size_t m, std::size_t n, std::size_t ldc, float beta) {
  for (std::size_t i = 0; i < m; ++i)
    for (std::size_t j = 0; j < n; ++j) c[i * ldc + j] = beta == 0 ? 0 : beta * c[i * ldc + j];
}

// Pieces along one dimension: as even as whole tiles allow.
std::size_t grain_of(std::size_t size, std::size_t parts, std::size_t tile) {
  const auto tiles = (size + tile - 1) / tile;
  return (tiles + parts - 1) / parts * tile;
}

}  // namespace

void sgemm(
    thread_pool& pool, transpose transpose_a, transpose transpose_b, std::size_t m, std::size_t n,
    std::size_t k, float alpha, const float* a, std::size_t lda, const float* b, std::size_t ldb,
    float beta, float* c, std::size_t ldc) {
  if (m == 0 || n == 0) return;
  if (k == 0) return scale(c, m, n, ldc, beta);
  const bool ta = transpose_a == transpose::yes, tb = transpose_b == transpose::yes;
  const auto piece = [&](std::size_t m0, std::size_t m1, std::size_t n0, std::size_t n1) {
    one_thread_a_call();
    const auto status = dnnl_sgemm(
        ta ? 'T' : 'N', tb ? 'T' : 'N', static_cast<dnnl_dim_t>(m1 - m0),
        static_cast<dnnl_dim_t>(n1 - n0), static_cast<dnnl_dim_t>(k), alpha,
        a + (ta ? m0 : m0 * lda), static_cast<dnnl_dim_t>(lda), b + (tb ? n0 * ldb : n0),
        static_cast<dnnl_dim_t>(ldb), beta, c + m0 * ldc + n0, static_cast<dnnl_dim_t>(ldc));
    base::check(status == dnnl_success, "sgemm with consistent sizes");
  };
  // The larger side is cut: each thread then packs the smaller operand for itself.
  if (m >= n) {
    parallel_for(pool, m, grain_of(m, pool.threads(), 16), [&](std::size_t i, std::size_t j) {
      piece(i, j, 0, n);
    });
  } else {
    parallel_for(pool, n, grain_of(n, pool.threads(), 16), [&](std::size_t i, std::size_t j) {
      piece(0, m, i, j);
    });
  }
}

}  // namespace dlls::kernels

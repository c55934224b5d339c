// Single-precision matrix product, for training. Row-major everywhere.
#pragma once
#include <cstddef>

#include "kernels/parallel.hpp"

namespace dlls::kernels {

enum class transpose : bool { no, yes };

// C = alpha * op(A) * op(B) + beta * C, with op(A) (m, k), op(B) (k, n), C (m, n). `lda`, `ldb`,
// `ldc` are the distances between rows as the matrices lie in memory: A is (m, k) or, transposed,
// (k, m). With beta = 0, C is only written: it may hold anything before. Any size may be 0.
// The split over the pool's threads depends on the sizes and on pool.threads() alone, so two runs
// with the same pool size agree bit for bit. Must not overlap C with A or B.
void sgemm(
    thread_pool& pool, transpose transpose_a, transpose transpose_b, std::size_t m, std::size_t n,
    std::size_t k, float alpha, const float* a, std::size_t lda, const float* b, std::size_t ldb,
    float beta, float* c, std::size_t ldc);

}  // namespace dlls::kernels

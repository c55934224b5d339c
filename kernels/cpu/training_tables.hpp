// Where each backend's table of training operations is found; kernels/training.cpp chooses.
#pragma once
#include "kernels/training.hpp"

namespace dlls::kernels::cpu {

const training_ops<double>& training_scalar_double();
const training_ops<float>& training_scalar();
const training_ops<float>& training_avx2();
const training_ops<float>& training_avx512();

// kernels/gemm.hpp in the table's form.
void training_gemm(
    thread_pool& pool, bool transpose_a, bool transpose_b, std::size_t m, std::size_t n,
    std::size_t k, const float* a, std::size_t lda, const float* b, std::size_t ldb, float beta,
    float* c, std::size_t ldc);

}  // namespace dlls::kernels::cpu

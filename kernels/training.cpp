#include "kernels/training.hpp"

#include "base/check.hpp"
#include "kernels/cpu/training_tables.hpp"
#include "kernels/dispatch.hpp"
#include "kernels/gemm.hpp"

namespace dlls::kernels {

const training_ops<double>& reference_training_ops() { return cpu::training_scalar_double(); }

const training_ops<float>& training_ops_for(isa which) {
  base::check(available(which), "training operations for an instruction set that is not here");
#if defined(DLLS_KERNELS_X86)
  if (which == isa::avx512) return cpu::training_avx512();
  if (which == isa::avx2) return cpu::training_avx2();
#endif
  return cpu::training_scalar();
}

namespace cpu {

void training_gemm(
    thread_pool& pool, bool transpose_a, bool transpose_b, std::size_t m, std::size_t n,
    std::size_t k, const float* a, std::size_t lda, const float* b, std::size_t ldb, float beta,
    float* c, std::size_t ldc) {
  sgemm(
      pool, transpose_a ? transpose::yes : transpose::no,
      transpose_b ? transpose::yes : transpose::no, m, n, k, 1.0F, a, lda, b, ldb, beta, c, ldc);
}

}  // namespace cpu
}  // namespace dlls::kernels

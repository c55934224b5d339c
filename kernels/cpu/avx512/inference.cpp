// The table of this backend, and what it does row by row.
#include "kernels/cpu/avx512/lanes.hpp"  // first: the files below are written on it

#include "kernels/cpu/avx512/backend.hpp"
#include "kernels/cpu/simd/rows.hpp"

namespace dlls::kernels {

const inference_ops& avx512_inference_ops() {
  static constexpr inference_ops table{
      .which = isa::avx512,
      .matmul_q8 = avx512::matmul_q8,
      .matmul_f32 = avx512::matmul_f32,
      .quantise_q8 = quantise_row,
      .rms_norm = rms_norm_row,
      .rope = rope_row,
      .swiglu = swiglu_row,
      .geglu = geglu_row,
      .add = add_row,
      .log_sum_exp = log_sum_exp_row,
      .softmax = softmax_row,
      .kv_store = avx512::kv_store,
      .attend = avx512::attend};
  return table;
}

}  // namespace dlls::kernels

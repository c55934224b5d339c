// The reference as a backend, in float.
#include "kernels/cpu/scalar/attention.hpp"
#include "kernels/cpu/scalar/matmul.hpp"
#include "kernels/cpu/scalar/rows.hpp"

namespace dlls::kernels {

const inference_ops& scalar_inference_ops() {
  static constexpr inference_ops table{
      .which = isa::scalar,
      .matmul_q8 = scalar::matmul_q8<float>,
      .matmul_f32 = scalar::matmul<float>,
      .quantise_q8 = scalar::quantise_q8,
      .rms_norm = scalar::rms_norm<float>,
      .rope = scalar::rope<float>,
      .swiglu = scalar::swiglu<float>,
      .geglu = scalar::geglu<float>,
      .add = scalar::add<float>,
      .log_sum_exp = scalar::log_sum_exp<float>,
      .softmax = scalar::softmax<float>,
      .kv_store = scalar::kv_store,
      .attend = scalar::attend<float>};
  return table;
}

}  // namespace dlls::kernels

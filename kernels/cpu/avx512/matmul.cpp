#include "kernels/cpu/avx512/dot.hpp"  // first: the files below are written on it

#include "kernels/cpu/avx512/backend.hpp"
#include "kernels/cpu/simd/matmul.hpp"

namespace dlls::kernels::avx512 {

void matmul_q8(const panel_range<float, q8_block>& a) { matmul_integers(a); }
void matmul_f32(const panel_range<float, float>& a) { matmul_floats(a); }

}  // namespace dlls::kernels::avx512

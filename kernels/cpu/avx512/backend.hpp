// The functions of this backend, gathered in inference.cpp.
#pragma once
#include "kernels/backend.hpp"

namespace dlls::kernels::avx512 {

void matmul_q8(const panel_range<float, q8_block>& a);
void matmul_f32(const panel_range<float, float>& a);
void attend(const attend_range<float>& a);
void kv_store(const kv_view& cache, std::size_t position, const float* k, const float* v);

}  // namespace dlls::kernels::avx512

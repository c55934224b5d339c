#include "kernels/cpu/avx512/dot.hpp"  // first: the files below are written on it

#include "kernels/cpu/avx512/backend.hpp"
#include "kernels/cpu/simd/attention.hpp"
#include "kernels/cpu/simd/kv_store.hpp"

namespace dlls::kernels::avx512 {

void attend(const attend_range<float>& a) { attend_rows(a); }
void kv_store(const kv_view& cache, std::size_t position, const float* k, const float* v) {
  kv_store_row(cache, position, k, v);
}

}  // namespace dlls::kernels::avx512

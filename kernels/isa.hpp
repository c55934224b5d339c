// The instruction sets that kernels are written for.
#pragma once

namespace dlls::kernels {

// Each includes the ones before it. avx2: AVX2, FMA and F16C. avx512: F, BW, VL, DQ and VNNI
// (Ice Lake, Zen 4 and later).
enum class isa : unsigned char { scalar = 0, avx2 = 1, avx512 = 2 };

}  // namespace dlls::kernels

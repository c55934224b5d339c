// Numbers to 8 bits in blocks of 32, on lanes (see tile.hpp for how these files are used).
#pragma once
#include "kernels/element.hpp"

namespace dlls::kernels {
namespace {

void quantise_row(q8_block* out, const float* x, std::size_t n) {
  for (std::size_t b = 0; b < n / block_values; ++b, x += block_values) {
    const lanes first = lanes::load(x), second = lanes::load(x + 16);
    const float peak = lanes::largest(lanes::max(lanes::absolute(first), lanes::absolute(second)));
    const float d = peak / 127.0f, inverse = peak > 0 ? 127.0f / peak : 0.0f;
    const lanes q0 = lanes::round(lanes::mul(first, lanes::all(inverse)));
    const lanes q1 = lanes::round(lanes::mul(second, lanes::all(inverse)));
    lanes::store_bytes(out[b].q, q0, q1);
    out[b].d = d;
    const float sums[2] = {lanes::sum(q0), lanes::sum(q1)};  // whole numbers, so exact
    out[b].sum = d * (sums[0] + sums[1]);
    out[b].half_sum[0] = d * sums[0], out[b].half_sum[1] = d * sums[1];
  }
}

}  // namespace
}  // namespace dlls::kernels

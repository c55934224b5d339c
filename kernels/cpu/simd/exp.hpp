// The exponential function on lanes.
#pragma once
#include "kernels/element.hpp"

namespace dlls::kernels {
namespace {

// exp(x) within 2 units in the last place for x in [-87.3, 88]; below, 1e-38 and no less: good
// enough wherever a sum follows. Cody-Waite reduction by ln 2, then the polynomial of Cephes' expf.
DLLS_LANES lanes exp(lanes x) {
  x = lanes::min(lanes::max(x, lanes::all(-87.3f)), lanes::all(88.0f));
  const lanes n = lanes::round(lanes::mul(x, lanes::all(1.44269504f)));
  lanes r = lanes::fma(n, lanes::all(-0.693359375f), x);
  r = lanes::fma(n, lanes::all(2.12194440e-4f), r);
  lanes p = lanes::all(1.9875691500e-4f);
  p = lanes::fma(p, r, lanes::all(1.3981999507e-3f));
  p = lanes::fma(p, r, lanes::all(8.3334519073e-3f));
  p = lanes::fma(p, r, lanes::all(4.1665795894e-2f));
  p = lanes::fma(p, r, lanes::all(1.6666665459e-1f));
  p = lanes::fma(p, r, lanes::all(5.0000001201e-1f));
  p = lanes::fma(lanes::mul(r, r), p, lanes::add(r, lanes::all(1.0f)));
  return lanes::scale_by_power(p, n);
}

}  // namespace
}  // namespace dlls::kernels

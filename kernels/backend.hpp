// What one instruction set offers to inference: a table of functions on the calling thread. Only
// the files of this folder use it; everybody else calls kernels/ops.hpp.
//
// Files compiled for one instruction set include this and nothing that brings inline functions of
// the standard library along: the linker could choose their copy for everybody, and it would not
// run on an older machine (tests/kernels checks the objects).
#pragma once
#include <cstddef>

#include "kernels/element.hpp"
#include "kernels/isa.hpp"
#include "kernels/layout.hpp"
#include "kernels/packed.hpp"

namespace dlls::kernels {

inline constexpr std::size_t head_dim_max = 256;
// Query rows that one call of attend takes.
inline constexpr std::size_t attend_rows_max = 48;

// Panels [begin, end) of one product: y (rows, weights.rows), x (rows, columns).
template <class Real, class Activation>
struct panel_range {
  Real* y;
  std::size_t y_stride;
  const packed_matrix* weights;
  std::size_t begin;
  std::size_t end;
  const Activation* x;
  std::size_t rows;
  bool accumulate;
};

// Query rows of some key-value heads over positions [begin, end). Row r of a key-value head's rows
// is head r % group of token r / group. Writes per row the unnormalised output, the largest score
// and the sum of exponentials, from which attention() makes the result.
template <class Real>
struct attend_range {
  const Real* q;         // of the first token and the first key-value head's first head
  std::size_t q_stride;  // from token to token
  std::size_t group;     // heads that share a key-value head
  std::size_t row_begin;
  std::size_t row_end;
  std::size_t first;   // position of token 0
  std::size_t window;  // positions a row sees, its own included; 0: all before it
  const kv_view* cache;
  std::size_t kv_head;   // the first,
  std::size_t kv_heads;  // and how many: rows() is at most attend_rows_max
  std::size_t begin;     // a multiple of kv_page_positions
  std::size_t end;
  Real* out;   // (kv_heads, row_end - row_begin, value_stride)
  Real* peak;  // (kv_heads, row_end - row_begin)
  Real* sum;   // (kv_heads, row_end - row_begin)

  std::size_t rows() const noexcept { return kv_heads * (row_end - row_begin); }
  // Where what a row sees begins, within [begin, end) or not.
  std::size_t first_seen(std::size_t row) const noexcept {
    const auto own = first + row / group;
    return window == 0 || own < window ? 0 : own + 1 - window;
  }
};

struct inference_ops {
  isa which;
  void (*matmul_q8)(const panel_range<float, q8_block>& range);
  void (*matmul_f32)(const panel_range<float, float>& range);
  void (*quantise_q8)(q8_block* out, const float* x, std::size_t n);
  void (*rms_norm)(float* out, const float* x, const float* weight, std::size_t n, float eps);
  void (*rope)(
      float* x, const float* table, std::size_t heads, std::size_t head_dim, rope_pairs pairs);
  void (*swiglu)(float* out, const float* gate, const float* up, std::size_t n);
  void (*geglu)(float* out, const float* gate, const float* up, std::size_t n);
  void (*add)(float* y, const float* x, std::size_t n);
  float (*log_sum_exp)(const float* x, std::size_t n);
  void (*softmax)(float* x, std::size_t n);
  void (*kv_store)(const kv_view& cache, std::size_t position, const float* k, const float* v);
  void (*attend)(const attend_range<float>& range);
};

const inference_ops& scalar_inference_ops();
#if defined(DLLS_KERNELS_X86)
const inference_ops& avx2_inference_ops();
const inference_ops& avx512_inference_ops();
#endif
// The table of an instruction set this machine has, and of the active one (dispatch.hpp).
const inference_ops& inference_ops_for(isa which);
const inference_ops& inference_backend();

}  // namespace dlls::kernels

// What inference computes. How each instruction set does it stands in kernels/cpu/*, under the same
// file names; the scalar twin is the reference and is tested in double precision.
//
// All matrices are row-major; outputs come first, sizes last; nothing may overlap unless said so.
// No function allocates or throws. Those that take a pool use its threads, the others run on the
// calling thread and may be called from any. Results do not depend on the number of threads.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/element.hpp"
#include "kernels/layout.hpp"
#include "kernels/packed.hpp"
#include "kernels/parallel.hpp"

namespace dlls::kernels {

// --- products -------------------------------------------------------------------------------

// Rows of activations: float always, and optionally the same rows quantised.
struct activation_rows {
  const float* values = nullptr;  // (rows, columns)
  const q8_block* q8 = nullptr;   // (rows, columns / 32) or null
  std::size_t rows = 0;
  std::size_t columns = 0;
};

// y = x W^T, or y += x W^T. y (x.rows, weights.rows), rows `y_stride` apart.
struct product {
  float* y = nullptr;
  std::size_t y_stride = 0;
  const packed_matrix* weights = nullptr;  // (weights.rows, x.columns)
  bool accumulate = false;
};

// Several products of the same activations in one parallel region. Quantised weights meet x.q8 in
// integer arithmetic where it is given, else x.values in float; other weights always meet x.values.
void matmul(thread_pool& pool, std::span<const product> products, const activation_rows& x);

// out (n / 32) blocks from x (n); n is a multiple of 32. Non-finite input gives undefined values.
void quantise_q8(q8_block* out, const float* x, std::size_t n);

// --- one row at a time ----------------------------------------------------------------------

// out = x / sqrt(mean(x^2) + eps) * weight (Zhang and Sennrich 2019). out may be x.
void rms_norm(float* out, const float* x, const float* weight, std::size_t n, float eps);

// Rotary embedding (Su et al. 2021) of `heads` heads in place; `table` (head_dim) holds cos, sin,
// cos, sin... of this position.
void rope(
    float* x,            // (heads, head_dim)
    const float* table,  // (head_dim / 2, 2)
    std::size_t heads, std::size_t head_dim, rope_pairs pairs);

// out = gate * sigmoid(gate) * up (Shazeer 2020). out may be gate or up.
void swiglu(float* out, const float* gate, const float* up, std::size_t n);

// out = gelu(gate) * up, with gelu(x) = x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) (Hendrycks
// and Gimpel 2016). out may be gate or up.
void geglu(float* out, const float* gate, const float* up, std::size_t n);

// y += x.
void add(float* y, const float* x, std::size_t n);

// log(sum(exp(x))), by the largest element first. n > 0.
float log_sum_exp(const float* x, std::size_t n);
// x = exp(x) / sum(exp(x)). n > 0.
void softmax(float* x, std::size_t n);

// --- attention ------------------------------------------------------------------------------

// Writes the keys and values of one position, rounded to the cache's type. Non-finite numbers leave
// undefined ones in a cache of q8_0.
void kv_store(
    const kv_view& cache, std::size_t position,
    const float* k,   // (kv_heads, head_dim), after rope
    const float* v);  // (kv_heads, head_dim)

// Query rows of one sequence: row i stands at position `first + i` and sees positions up to its
// own, which kv_store must have written.
struct attention_rows {
  float* out = nullptr;      // (rows, heads, head_dim), rows `out_stride` apart
  const float* q = nullptr;  // (rows, heads, head_dim), rows `q_stride` apart, after rope
  std::size_t out_stride = 0;
  std::size_t q_stride = 0;
  std::size_t rows = 0;
  std::size_t heads = 0;  // a multiple of cache.kv_heads: heads of a group share keys and values
  std::size_t first = 0;
  kv_view cache;
  std::size_t window = 0;  // positions that a row sees, its own included; 0: all before it
  // Filled in by attention(): key-value heads in one piece of work, this sequence's first piece and
  // first number of scratch.
  std::size_t together = 1;
  std::size_t first_piece = 0;
  std::size_t scratch_at = 0;
};

// softmax(q k^T / sqrt(head_dim), causal) v, with the online softmax (Milakov and Gimelshein 2018),
// page by page; keys and values of a group's heads are read once. All sequences of a step at once.
// A cache of q8_0 meets q / sqrt(head_dim) quantised as by quantise_q8, in integer arithmetic.
// A row's result depends on its own numbers alone, not on the rows and sequences beside it.
// `scratch` holds attention_scratch(...) floats; its content means nothing.
void attention(thread_pool& pool, std::span<attention_rows> sequences, float* scratch);
std::size_t attention_scratch(std::span<const attention_rows> sequences);

}  // namespace dlls::kernels

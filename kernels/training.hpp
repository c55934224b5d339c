// What training needs from a backend: the operations of a LLaMA block, forward and backward.
//
// One table of functions per arithmetic and instruction set. `training_ops<double>` exists once, as
// the reference; `training_ops<float>` exists scalar, for AVX2 and for AVX-512, chosen by
// kernels/dispatch.hpp. Tables are immutable and live for ever; every function may be called from
// any thread as long as its outputs are not shared. All but gemm run on the calling thread alone:
// the caller splits rows or heads (model/trainer_pass.hpp). No function allocates, except gemm.
//
// Every result depends only on the arguments, never on timing: the order of each sum is fixed.
// Matrices are row-major. Outputs come first, sizes last; nothing may overlap unless said so.
#pragma once
#include <cstddef>
#include <cstdint>

namespace dlls::kernels {

// Declared, not included: the backends' own files must see no inline function of another room,
// which they would compile for an instruction set that the linker's choice may not have.
class thread_pool;               // kernels/parallel.hpp
enum class isa : unsigned char;  // kernels/dispatch.hpp

// A position whose target is this counts neither in the loss nor in any gradient.
inline constexpr std::int32_t no_target = -100;

// One head of one sequence. q, k, v and out are columns of wider matrices.
struct attention_shape {
  std::size_t tokens;      // of this sequence; the mask is causal
  std::size_t head_dim;    // at most attention_head_dim_max
  std::size_t qkv_stride;  // from one token's q (k, v) to the next one's
  std::size_t out_stride;  // from one token's out to the next one's
};
inline constexpr std::size_t attention_head_dim_max = 256;

// AdamW (Loshchilov and Hutter 2019) in the form of torch.optim.AdamW. `step` counts from 1.
struct adamw_step {
  double learning_rate, beta1, beta2, eps, weight_decay;
  double gradient_scale;  // multiplies every gradient first: the clip
  std::uint64_t step;
};

template <class Real>
struct training_ops {
  const char* name;  // "scalar", "avx2", "avx512"

  // RMSNorm (Zhang and Sennrich 2019). y = x * rstd * weight, rstd = 1 / sqrt(mean(x^2) + eps).
  void (*rms_norm)(
      Real* y,             // (rows, dim)
      Real* rstd,          // (rows)
      const Real* x,       // (rows, dim)
      const Real* weight,  // (dim)
      std::size_t rows, std::size_t dim, double eps);
  // Adds to dx and to dweight.
  void (*rms_norm_backward)(
      Real* dx,            // (rows, dim) +=
      Real* dweight,       // (dim) +=
      const Real* dy,      // (rows, dim)
      const Real* x,       // (rows, dim)
      const Real* weight,  // (dim)
      const Real* rstd,    // (rows)
      std::size_t rows, std::size_t dim);

  // Rotary embedding (Su et al. 2021) on adjacent pairs (2i, 2i+1), the order of GGUF's LLaMA
  // files, in place, on the first `heads` heads of each row. `backward` turns the other way.
  void (*rope)(
      Real* x,                         // (rows, stride)
      const Real* table,               // (positions, head_dim): cos, sin, cos, sin...
      const std::uint32_t* positions,  // (rows)
      std::size_t rows, std::size_t stride, std::size_t heads, std::size_t head_dim, bool backward);

  // softmax(q k^T / sqrt(head_dim), causal) v of one head. `lse` keeps each row's log of the sum of
  // exponentials for the backward pass. `scratch` holds attention_scratch(shape) values.
  void (*attention)(
      Real* out,  // (tokens, head_dim)
      Real* lse,  // (tokens)
      const Real* q, const Real* k, const Real* v, const attention_shape& shape, Real* scratch);
  // Recomputes the probabilities from lse. dq is written, dk and dv are added to (heads of a group
  // share them); their stride is qkv_stride, dout's is out_stride.
  void (*attention_backward)(
      Real* dq, Real* dk, Real* dv, const Real* dout, const Real* out, const Real* lse,
      const Real* q, const Real* k, const Real* v, const attention_shape& shape, Real* scratch);
  std::size_t (*attention_scratch)(const attention_shape& shape);

  // SwiGLU (Shazeer 2020): act = gate * sigmoid(gate) * up.
  void (*swiglu)(
      Real* act,            // (rows, ff)
      const Real* gate_up,  // (rows, 2 ff): gate, then up
      std::size_t rows, std::size_t ff);
  // Turns gate_up into its own gradient in place, and dact into act (wanted by the next product).
  void (*swiglu_backward)(
      Real* gate_up,  // (rows, 2 ff) in: values, out: gradients
      Real* dact,     // (rows, ff)   in: gradients, out: act
      std::size_t rows, std::size_t ff);

  // Returns the sum over counted rows of -log softmax(logits)[target], and turns the logits into
  // the gradient of `scale` times that sum. Rows with no_target give zeros.
  double (*cross_entropy)(
      Real* logits,                 // (rows, vocab)
      const std::int32_t* targets,  // (rows)
      std::size_t rows, std::size_t vocab, double scale);

  void (*adamw)(
      Real* weights, Real* moment1, Real* moment2, const Real* gradient, std::size_t n,
      const adamw_step& step);
  double (*sum_of_squares)(const Real* x, std::size_t n);
  void (*add)(Real* y, const Real* x, std::size_t n);  // y += x

  // C = op(A) op(B) + beta C, where op transposes when told; beta is 0 (C may hold anything,
  // NaN included) or 1. Uses the pool's threads, with a split that depends on the shape and the
  // pool's size only.
  void (*gemm)(
      thread_pool& pool, bool transpose_a, bool transpose_b, std::size_t m, std::size_t n,
      std::size_t k, const Real* a, std::size_t lda, const Real* b, std::size_t ldb, Real beta,
      Real* c, std::size_t ldc);
};

// The reference, in double precision.
const training_ops<double>& reference_training_ops();
// The table for `which`, which this machine must have (dispatch.hpp); scalar always exists.
const training_ops<float>& training_ops_for(isa which);

}  // namespace dlls::kernels

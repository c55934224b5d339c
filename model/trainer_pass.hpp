// One pass through a LLaMA model and back: the loss of a batch and its gradient, written by hand.
//
// Templated on its arithmetic: float on the fast operations, double on the reference (then equal to
// PyTorch's float64 within 1e-10, tests/parity/training_test.cpp). Sequences of different lengths
// stand one after another without padding; attention stays within each.
//
// Kept of the way forward, per layer and token: the block's input and middle (dim each), q k v
// after rope, the attention's output and log-sum, gate and up. Norms, activations and probabilities
// are computed again on the way back. Logits exist for counted rows only, logits_bytes at a time.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/parallel.hpp"
#include "kernels/training.hpp"
#include "model/llama_config.hpp"
#include "model/token.hpp"
#include "model/trainer_buffer.hpp"
#include "model/trainer_weights.hpp"

namespace dlls::model {

// Sequences side by side: sequence i is tokens [starts[i], starts[i + 1]).
struct token_batch {
  std::vector<token_id> tokens;
  std::vector<token_id> targets;  // kernels::no_target where nothing counts
  std::vector<std::uint32_t> positions;
  std::vector<std::size_t> starts{0};

  void add(std::span<const token_id> inputs, std::span<const token_id> wanted);
  std::size_t size() const noexcept { return tokens.size(); }
  std::size_t counted() const noexcept;
};

// One thread at a time. Buffers grow to the largest batch seen and stay.
template <class Real>
class training_pass {
 public:
  // The pool and the layout must outlive it. `rope_factors` as from read_rope_factors.
  training_pass(
      const llama_config& config, const parameter_layout& layout,
      const kernels::training_ops<Real>& ops, kernels::thread_pool& pool,
      std::span<const float> rope_factors = {});

  // Returns the sum of -log p(target) over counted rows, and the gradient of `scale` times that sum
  // in `gradient` (layout.values()): written when `overwrite`, else added to what is there.
  double run(
      const Real* weights, Real* gradient, const token_batch& batch, double scale, bool overwrite);
  // Forward only: logits (batch.size(), vocab) of every row.
  void logits(const Real* weights, const token_batch& batch, Real* out);

  static constexpr std::size_t logits_bytes = 32u << 20;  // one chunk; stays within a usual L3

 private:
  struct layer_memory {
    training_buffer<Real> x, norm1, qkv, lse, heads, middle, norm2, gate_up;
  };
  void prepare(const token_batch& batch);
  void forward(const Real* weights, const token_batch& batch);
  void forward_layer(const Real* weights, std::size_t layer, Real* x_next);
  void backward_layer(const Real* weights, Real* gradient, std::size_t layer);
  void backward_attention(const Real* weights, Real* gradient, std::size_t layer);
  double head(const Real* weights, Real* gradient, double scale);
  void embed(const Real* weights);
  void embed_backward(Real* gradient, bool overwrite);

  void norm(Real* y, Real* rstd, const Real* x, const Real* weight, std::size_t rows);
  void norm_backward(
      Real* dx, Real* dweight, const Real* dy, const Real* x, const Real* weight, const Real* rstd,
      std::size_t rows);
  void rope(Real* qkv, bool backward);
  // fn(sequence, kv_head, scratch) over all of them.
  template <class Fn>
  void each_head(Fn fn);
  kernels::attention_shape shape_of(std::size_t sequence) const;
  // y (rows, out) = x (rows, in) w (out, in)^T, or added.
  void linear(Real* y, const Real* x, const Real* w, std::size_t out, std::size_t in, Real beta);
  // dx (rows, in) = dy (rows, out) w, and dw (out, in) = or += dy^T x.
  void linear_dx(Real* dx, const Real* dy, const Real* w, std::size_t out, std::size_t in);
  void linear_dw(Real* dw, const Real* dy, const Real* x, std::size_t out, std::size_t in);

  const llama_config config_;
  const parameter_layout& layout_;
  const kernels::training_ops<Real>& ops_;
  kernels::thread_pool& pool_;
  const double rms_eps_, rope_base_;
  const std::size_t q_width_, kv_width_, qkv_width_;
  const std::vector<float> rope_factors_;

  const token_batch* batch_ = nullptr;  // during run() and logits()
  Real dw_beta_ = 0;                    // 0 while gradients are written, 1 while they are added
  std::vector<std::size_t> counted_;    // rows with a target
  std::vector<std::int32_t> counted_targets_;
  std::size_t rope_positions_ = 0;
  std::vector<Real> rope_table_;  // (positions, head_dim): cos, sin...
  std::vector<layer_memory> layers_;
  training_buffer<Real> x_out_;  // (rows, dim) after the last layer
  training_buffer<Real> normal_, act_, dx_, dnormal_, dact_, dqkv_, dheads_;
  training_buffer<Real> picked_, picked_norm_, picked_rstd_, dpicked_, logits_;
  training_buffer<Real> dweight_parts_, scratch_;
};

extern template class training_pass<float>;
extern template class training_pass<double>;

}  // namespace dlls::model

// What turns gradients into new weights: the schedule, the clip, AdamW, and the arrays they act on.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/parallel.hpp"
#include "kernels/training.hpp"
#include "model/trainer_buffer.hpp"
#include "model/trainer_pass.hpp"
#include "model/trainer_spec.hpp"
#include "model/trainer_weights.hpp"

namespace dlls::model {

// Of step `step` (from 1) out of `steps_total`: rises in equal parts over the warm-up's steps, then
// as the schedule says; cosine reaches its minimum one step after the last.
double learning_rate_at(
    const training_spec& spec, std::uint64_t step, std::uint64_t steps_total) noexcept;

// What gradients of this global norm are multiplied by: torch.nn.utils.clip_grad_norm_'s
// clip / (norm + 1e-6), at most 1. A clip of 0 never clips.
double clip_scale(double norm, double clip) noexcept;

// Weights, gradients and moments of one model, and a step on them. Sums run in an order that does
// not depend on threads. One thread at a time; layout, operations and pool must outlive it.
template <class Real>
class optimizer {
 public:
  // May throw std::bad_alloc.
  optimizer(
      const parameter_layout& layout, const kernels::training_ops<Real>& ops,
      kernels::thread_pool& pool);

  // The mean loss over the counted targets of all batches together, and its gradient.
  double gradient_of(training_pass<Real>& pass, std::span<const token_batch> batches);
  // The gradient's global norm.
  double norm() const;
  // AdamW as the spec says; `step` from 1.
  void update(
      const training_spec& spec, std::uint64_t step, double learning_rate, double gradient_scale);

  training_buffer<Real> weights, gradient, moment1, moment2;  // layout.values() each

 private:
  const parameter_layout& layout_;
  const kernels::training_ops<Real>& ops_;
  kernels::thread_pool& pool_;
};

extern template class optimizer<float>;
extern template class optimizer<double>;

}  // namespace dlls::model

#include "model/optimizer.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/check.hpp"

namespace dlls::model {
namespace {

constexpr std::size_t piece = 1 << 16;  // values of one piece of work and of one partial sum

}  // namespace

double learning_rate_at(
    const training_spec& spec, std::uint64_t step, std::uint64_t steps_total) noexcept {
  const double warmup = std::round(spec.warmup_ratio * double(steps_total));
  const double done = double(step - 1);
  if (done < warmup) return spec.learning_rate * double(step) / warmup;
  if (spec.schedule == rate_schedule::constant) return spec.learning_rate;
  const double progress = (done - warmup) / std::max(1.0, double(steps_total) - warmup);
  const double wave = 0.5 * (1.0 + std::cos(std::numbers::pi * progress));
  return spec.learning_rate * (spec.min_rate_ratio + (1.0 - spec.min_rate_ratio) * wave);
}

double clip_scale(double norm, double clip) noexcept {
  return clip > 0 ? std::min(1.0, clip / (norm + 1e-6)) : 1.0;
}

template <class Real>
optimizer<Real>::optimizer(
    const parameter_layout& layout, const kernels::training_ops<Real>& ops,
    kernels::thread_pool& pool)
    : weights(layout.values()),
      gradient(layout.values()),
      moment1(layout.values()),
      moment2(layout.values()),
      layout_(layout),
      ops_(ops),
      pool_(pool) {}

template <class Real>
double optimizer<Real>::gradient_of(
    training_pass<Real>& pass, std::span<const token_batch> batches) {
  std::size_t counted = 0;
  for (const auto& b : batches) counted += b.counted();
  base::check(counted > 0, "a step without a target that counts");
  double loss = 0;
  for (const auto& b : batches)
    loss +=
        pass.run(weights.data(), gradient.data(), b, 1.0 / double(counted), &b == batches.data());
  return loss / double(counted);
}

template <class Real>
double optimizer<Real>::norm() const {
  std::vector<double> sums((gradient.size() + piece - 1) / piece);
  kernels::parallel_for(pool_, gradient.size(), piece, [&](std::size_t from, std::size_t to) {
    sums[from / piece] = ops_.sum_of_squares(gradient.data() + from, to - from);
  });
  double total = 0;
  for (const double s : sums) total += s;
  return std::sqrt(total);
}

template <class Real>
void optimizer<Real>::update(
    const training_spec& spec, std::uint64_t step, double learning_rate, double gradient_scale) {
  const auto run = [&](std::size_t first, std::size_t values, bool decays) {
    const kernels::adamw_step s{
        learning_rate,  spec.beta1, spec.beta2, spec.eps, decays ? spec.weight_decay : 0.0,
        gradient_scale, step};
    kernels::parallel_for(pool_, values, piece, [&](std::size_t from, std::size_t to) {
      const std::size_t at = first + from;
      ops_.adamw(
          weights.data() + at, moment1.data() + at, moment2.data() + at, gradient.data() + at,
          to - from, s);
    });
  };
  // Neighbours with the same decay go together.
  std::size_t first = 0;
  const auto all = layout_.all();
  for (std::size_t i = 0; i < all.size(); ++i) {
    const std::size_t end = all[i].offset + all[i].values();
    if (i + 1 < all.size() && all[i + 1].matrix == all[i].matrix) continue;
    run(first, end - first, all[i].matrix || spec.decay_vectors);
    first = end;
  }
}

template class optimizer<float>;
template class optimizer<double>;

}  // namespace dlls::model

#include "model/trainer_pass.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <string>

#include "base/check.hpp"

namespace dlls::model {
namespace {

using kernels::no_target;
using kernels::parallel_for;

constexpr std::size_t row_grain = 16;        // rows of a piece of work, where rows are independent
constexpr std::size_t norm_grain = 64;       // rows that share one partial sum of a norm's gradient
constexpr std::size_t fill_grain = 1 << 16;  // values

// Files carry such numbers in single precision; what was meant is the shortest decimal number that
// rounds to it (1e-5, not 9.9999997e-6), and in double the difference shows.
double as_meant(float x) { return std::stod(fmt::format("{}", x)); }

}  // namespace

void token_batch::add(std::span<const token_id> inputs, std::span<const token_id> wanted) {
  base::check(inputs.size() == wanted.size() && !inputs.empty(), "an example of unequal lengths");
  tokens.insert(tokens.end(), inputs.begin(), inputs.end());
  targets.insert(targets.end(), wanted.begin(), wanted.end());
  for (std::uint32_t i = 0; i < inputs.size(); ++i) positions.push_back(i);
  starts.push_back(tokens.size());
}

std::size_t token_batch::counted() const noexcept {
  return targets.size() - std::size_t(std::count(targets.begin(), targets.end(), no_target));
}

template <class Real>
training_pass<Real>::training_pass(
    const llama_config& config, const parameter_layout& layout,
    const kernels::training_ops<Real>& ops, kernels::thread_pool& pool,
    std::span<const float> rope_factors)
    : config_(config),
      layout_(layout),
      ops_(ops),
      pool_(pool),
      rms_eps_(as_meant(config.rms_eps)),
      rope_base_(as_meant(config.rope_base)),
      q_width_(std::size_t(config.heads) * config.head_dim),
      kv_width_(std::size_t(config.kv_heads) * config.head_dim),
      qkv_width_(q_width_ + 2 * kv_width_),
      rope_factors_(rope_factors.begin(), rope_factors.end()),
      layers_(config.layers) {
  base::check(config.head_dim <= kernels::attention_head_dim_max, "a head too wide to train");
}

template <class Real>
void training_pass<Real>::prepare(const token_batch& batch) {
  batch_ = &batch;
  counted_.clear(), counted_targets_.clear();
  for (std::size_t i = 0; i < batch.size(); ++i)
    if (batch.targets[i] != no_target) {
      counted_.push_back(i);
      counted_targets_.push_back(batch.targets[i]);
    }
  const std::size_t n = batch.size(), dim = config_.dim, ff = config_.ff;
  for (auto& l : layers_) {
    l.x.reserve(n * dim), l.norm1.reserve(n), l.qkv.reserve(n * qkv_width_);
    l.lse.reserve(n * config_.heads), l.heads.reserve(n * q_width_), l.middle.reserve(n * dim);
    l.norm2.reserve(n), l.gate_up.reserve(n * 2 * ff);
  }
  x_out_.reserve(n * dim), normal_.reserve(n * dim), act_.reserve(n * ff);
  std::size_t longest = 0;
  for (std::size_t i = 0; i + 1 < batch.starts.size(); ++i)
    longest = std::max(longest, batch.starts[i + 1] - batch.starts[i]);
  scratch_.reserve(
      pool_.threads() * ops_.attention_scratch({longest, config_.head_dim, qkv_width_, q_width_}));
  if (longest <= rope_positions_) return;
  rope_positions_ = longest;
  rope_table_.resize(longest * config_.head_dim);
  for (std::size_t p = 0; p < longest; ++p)
    for (std::size_t i = 0; i < config_.head_dim; i += 2) {
      const double factor = rope_factors_.empty() ? 1.0 : double(rope_factors_[i / 2]);
      const double exponent = double(i) / double(config_.head_dim);
      const double angle = double(p) / std::pow(rope_base_, exponent) / factor;
      rope_table_[p * config_.head_dim + i] = Real(std::cos(angle));
      rope_table_[p * config_.head_dim + i + 1] = Real(std::sin(angle));
    }
}

template <class Real>
void training_pass<Real>::norm(
    Real* y, Real* rstd, const Real* x, const Real* weight, std::size_t rows) {
  const std::size_t dim = config_.dim;
  parallel_for(pool_, rows, row_grain, [&](std::size_t from, std::size_t to) {
    ops_.rms_norm(y + from * dim, rstd + from, x + from * dim, weight, to - from, dim, rms_eps_);
  });
}

// The weight's gradient is summed per norm_grain rows and those sums in order: the same bits for
// any number of threads.
template <class Real>
void training_pass<Real>::norm_backward(
    Real* dx, Real* dweight, const Real* dy, const Real* x, const Real* weight, const Real* rstd,
    std::size_t rows) {
  const std::size_t dim = config_.dim, parts = (rows + norm_grain - 1) / norm_grain;
  dweight_parts_.reserve(parts * dim);
  parallel_for(pool_, rows, norm_grain, [&](std::size_t from, std::size_t to) {
    Real* part = dweight_parts_.data() + from / norm_grain * dim;
    std::fill(part, part + dim, Real(0));
    ops_.rms_norm_backward(
        dx + from * dim, part, dy + from * dim, x + from * dim, weight, rstd + from, to - from,
        dim);
  });
  if (dw_beta_ == Real(0)) std::fill(dweight, dweight + dim, Real(0));
  for (std::size_t i = 0; i < parts; ++i) ops_.add(dweight, dweight_parts_.data() + i * dim, dim);
}

template <class Real>
void training_pass<Real>::rope(Real* qkv, bool backward) {
  parallel_for(pool_, batch_->size(), row_grain, [&](std::size_t from, std::size_t to) {
    ops_.rope(
        qkv + from * qkv_width_, rope_table_.data(), batch_->positions.data() + from, to - from,
        qkv_width_, config_.heads + config_.kv_heads, config_.head_dim, backward);
  });
}

template <class Real>
kernels::attention_shape training_pass<Real>::shape_of(std::size_t sequence) const {
  const std::size_t tokens = batch_->starts[sequence + 1] - batch_->starts[sequence];
  return {tokens, config_.head_dim, qkv_width_, q_width_};
}

template <class Real>
template <class Fn>
void training_pass<Real>::each_head(Fn fn) {
  const std::size_t sequences = batch_->starts.size() - 1;
  const std::size_t slot_size = scratch_.size() / pool_.threads();
  std::vector<std::atomic_flag> taken(pool_.threads());
  parallel_for(pool_, sequences * config_.kv_heads, 1, [&](std::size_t from, std::size_t to) {
    std::size_t slot = 0;  // no more than threads() pieces run at once, so one is free
    while (taken[slot].test_and_set(std::memory_order_acquire)) slot = (slot + 1) % taken.size();
    for (std::size_t i = from; i < to; ++i)
      fn(i / config_.kv_heads, i % config_.kv_heads, scratch_.data() + slot * slot_size);
    taken[slot].clear(std::memory_order_release);
  });
}

template <class Real>
void training_pass<Real>::linear(
    Real* y, const Real* x, const Real* w, std::size_t out, std::size_t in, Real beta) {
  ops_.gemm(pool_, false, true, batch_->size(), out, in, x, in, w, in, beta, y, out);
}
template <class Real>
void training_pass<Real>::linear_dx(
    Real* dx, const Real* dy, const Real* w, std::size_t out, std::size_t in) {
  ops_.gemm(pool_, false, false, batch_->size(), in, out, dy, out, w, in, Real(0), dx, in);
}
template <class Real>
void training_pass<Real>::linear_dw(
    Real* dw, const Real* dy, const Real* x, std::size_t out, std::size_t in) {
  ops_.gemm(pool_, true, false, out, in, batch_->size(), dy, out, x, in, dw_beta_, dw, in);
}

template <class Real>
void training_pass<Real>::embed(const Real* weights) {
  const std::size_t dim = config_.dim;
  const Real* table = weights + layout_.embedding();
  Real* x = layers_.front().x.data();
  for (std::size_t i = 0; i < batch_->size(); ++i)
    std::copy_n(table + std::size_t(batch_->tokens[i]) * dim, dim, x + i * dim);
}

template <class Real>
void training_pass<Real>::embed_backward(Real* gradient, bool overwrite) {
  const std::size_t dim = config_.dim;
  Real* table = gradient + layout_.embedding();
  if (overwrite && !config_.tied)  // tied: head() has written it
    parallel_for(pool_, config_.vocab * dim, fill_grain, [&](std::size_t from, std::size_t to) {
      std::fill(table + from, table + to, Real(0));
    });
  for (std::size_t i = 0; i < batch_->size(); ++i)
    ops_.add(table + std::size_t(batch_->tokens[i]) * dim, dx_.data() + i * dim, dim);
}

template <class Real>
void training_pass<Real>::forward_layer(const Real* weights, std::size_t layer, Real* x_next) {
  const std::size_t n = batch_->size(), dim = config_.dim, ff = config_.ff;
  auto& m = layers_[layer];
  const auto& at = layout_.layers()[layer];
  norm(normal_.data(), m.norm1.data(), m.x.data(), weights + at.attention_norm, n);
  linear(m.qkv.data(), normal_.data(), weights + at.qkv, qkv_width_, dim, Real(0));
  rope(m.qkv.data(), false);
  const std::size_t group = config_.heads / config_.kv_heads, head_dim = config_.head_dim;
  each_head([&](std::size_t sequence, std::size_t kv_head, Real* scratch) {
    const std::size_t first = batch_->starts[sequence];
    const Real* row = m.qkv.data() + first * qkv_width_;
    for (std::size_t h = kv_head * group; h < (kv_head + 1) * group; ++h)
      ops_.attention(
          m.heads.data() + first * q_width_ + h * head_dim, m.lse.data() + h * n + first,
          row + h * head_dim, row + q_width_ + kv_head * head_dim,
          row + q_width_ + kv_width_ + kv_head * head_dim, shape_of(sequence), scratch);
  });
  std::copy_n(m.x.data(), n * dim, m.middle.data());
  linear(m.middle.data(), m.heads.data(), weights + at.attention_out, dim, q_width_, Real(1));

  norm(normal_.data(), m.norm2.data(), m.middle.data(), weights + at.ff_norm, n);
  linear(m.gate_up.data(), normal_.data(), weights + at.gate_up, 2 * ff, dim, Real(0));
  parallel_for(pool_, n, row_grain, [&](std::size_t from, std::size_t to) {
    ops_.swiglu(act_.data() + from * ff, m.gate_up.data() + from * 2 * ff, to - from, ff);
  });
  std::copy_n(m.middle.data(), n * dim, x_next);
  linear(x_next, act_.data(), weights + at.down, dim, ff, Real(1));
}

template <class Real>
void training_pass<Real>::forward(const Real* weights, const token_batch& batch) {
  prepare(batch);
  embed(weights);
  for (std::size_t l = 0; l < layers_.size(); ++l)
    forward_layer(weights, l, l + 1 < layers_.size() ? layers_[l + 1].x.data() : x_out_.data());
}

// Final norm, logits, loss, and their gradients, for counted rows; leaves dx_ at the last layer's
// output.
template <class Real>
double training_pass<Real>::head(const Real* weights, Real* gradient, double scale) {
  const std::size_t dim = config_.dim, vocab = config_.vocab, n = counted_.size();
  picked_.reserve(n * dim), picked_norm_.reserve(n * dim), picked_rstd_.reserve(n);
  dpicked_.reserve(n * dim);
  for (std::size_t i = 0; i < n; ++i)
    std::copy_n(x_out_.data() + counted_[i] * dim, dim, picked_.data() + i * dim);
  const Real* weight = weights + layout_.output_norm();
  norm(picked_norm_.data(), picked_rstd_.data(), picked_.data(), weight, n);

  const Real* table = weights + layout_.output();
  Real* dtable = gradient + layout_.output();
  const std::size_t chunk = std::max<std::size_t>(
      row_grain, logits_bytes / (vocab * sizeof(Real)) / row_grain * row_grain);
  logits_.reserve(std::min(n, chunk) * vocab);
  std::vector<double> losses(n);
  Real beta = dw_beta_;
  if (n == 0 && beta == Real(0)) std::fill(dtable, dtable + vocab * dim, Real(0));
  for (std::size_t from = 0; from < n; from += chunk, beta = Real(1)) {
    const std::size_t rows = std::min(chunk, n - from);
    const Real* x = picked_norm_.data() + from * dim;
    ops_.gemm(
        pool_, false, true, rows, vocab, dim, x, dim, table, dim, Real(0), logits_.data(), vocab);
    parallel_for(pool_, rows, 1, [&](std::size_t r, std::size_t) {
      losses[from + r] = ops_.cross_entropy(
          logits_.data() + r * vocab, counted_targets_.data() + from + r, 1, vocab, scale);
    });
    ops_.gemm(
        pool_, false, false, rows, dim, vocab, logits_.data(), vocab, table, dim, Real(0),
        dpicked_.data() + from * dim, dim);
    ops_.gemm(
        pool_, true, false, vocab, dim, rows, logits_.data(), vocab, x, dim, beta, dtable, dim);
  }
  std::fill_n(dx_.data(), batch_->size() * dim, Real(0));
  std::fill_n(dnormal_.data(), n * dim, Real(0));
  norm_backward(
      dnormal_.data(), gradient + layout_.output_norm(), dpicked_.data(), picked_.data(), weight,
      picked_rstd_.data(), n);
  for (std::size_t i = 0; i < n; ++i)
    std::copy_n(dnormal_.data() + i * dim, dim, dx_.data() + counted_[i] * dim);
  double loss = 0;
  for (const double row : losses) loss += row;
  return loss;
}

template <class Real>
void training_pass<Real>::backward_attention(
    const Real* weights, Real* gradient, std::size_t layer) {
  const std::size_t n = batch_->size(), dim = config_.dim;
  auto& m = layers_[layer];
  const auto& at = layout_.layers()[layer];
  linear_dx(dheads_.data(), dx_.data(), weights + at.attention_out, dim, q_width_);
  linear_dw(gradient + at.attention_out, dx_.data(), m.heads.data(), dim, q_width_);

  const std::size_t group = config_.heads / config_.kv_heads, head_dim = config_.head_dim;
  std::fill_n(dqkv_.data(), n * qkv_width_, Real(0));
  each_head([&](std::size_t sequence, std::size_t kv_head, Real* scratch) {
    const std::size_t first = batch_->starts[sequence];
    const std::size_t k = first * qkv_width_ + q_width_ + kv_head * head_dim, v = k + kv_width_;
    for (std::size_t h = kv_head * group; h < (kv_head + 1) * group; ++h) {
      const std::size_t q = first * qkv_width_ + h * head_dim;
      const std::size_t out = first * q_width_ + h * head_dim;
      ops_.attention_backward(
          dqkv_.data() + q, dqkv_.data() + k, dqkv_.data() + v, dheads_.data() + out,
          m.heads.data() + out, m.lse.data() + h * n + first, m.qkv.data() + q, m.qkv.data() + k,
          m.qkv.data() + v, shape_of(sequence), scratch);
    }
  });
  rope(dqkv_.data(), true);
}

template <class Real>
void training_pass<Real>::backward_layer(const Real* weights, Real* gradient, std::size_t layer) {
  const std::size_t n = batch_->size(), dim = config_.dim, ff = config_.ff;
  auto& m = layers_[layer];
  const auto& at = layout_.layers()[layer];
  linear_dx(dact_.data(), dx_.data(), weights + at.down, dim, ff);
  parallel_for(pool_, n, row_grain, [&](std::size_t from, std::size_t to) {
    ops_.swiglu_backward(m.gate_up.data() + from * 2 * ff, dact_.data() + from * ff, to - from, ff);
  });
  linear_dw(gradient + at.down, dx_.data(), dact_.data(), dim, ff);
  norm(normal_.data(), m.norm2.data(), m.middle.data(), weights + at.ff_norm, n);
  linear_dx(dnormal_.data(), m.gate_up.data(), weights + at.gate_up, 2 * ff, dim);
  linear_dw(gradient + at.gate_up, m.gate_up.data(), normal_.data(), 2 * ff, dim);
  norm_backward(
      dx_.data(), gradient + at.ff_norm, dnormal_.data(), m.middle.data(), weights + at.ff_norm,
      m.norm2.data(), n);

  backward_attention(weights, gradient, layer);
  norm(normal_.data(), m.norm1.data(), m.x.data(), weights + at.attention_norm, n);
  linear_dx(dnormal_.data(), dqkv_.data(), weights + at.qkv, qkv_width_, dim);
  linear_dw(gradient + at.qkv, dqkv_.data(), normal_.data(), qkv_width_, dim);
  norm_backward(
      dx_.data(), gradient + at.attention_norm, dnormal_.data(), m.x.data(),
      weights + at.attention_norm, m.norm1.data(), n);
}

template <class Real>
double training_pass<Real>::run(
    const Real* weights, Real* gradient, const token_batch& batch, double scale, bool overwrite) {
  const std::size_t n = batch.size(), dim = config_.dim;
  dx_.reserve(n * dim), dnormal_.reserve(n * dim), dact_.reserve(n * config_.ff);
  dqkv_.reserve(n * qkv_width_), dheads_.reserve(n * q_width_);
  dw_beta_ = overwrite ? Real(0) : Real(1);
  forward(weights, batch);
  const double loss = head(weights, gradient, scale);
  for (std::size_t l = layers_.size(); l-- > 0;) backward_layer(weights, gradient, l);
  embed_backward(gradient, overwrite);
  batch_ = nullptr;
  return loss;
}

template <class Real>
void training_pass<Real>::logits(const Real* weights, const token_batch& batch, Real* out) {
  forward(weights, batch);
  picked_rstd_.reserve(batch.size());
  norm(
      normal_.data(), picked_rstd_.data(), x_out_.data(), weights + layout_.output_norm(),
      batch.size());
  linear(out, normal_.data(), weights + layout_.output(), config_.vocab, config_.dim, Real(0));
  batch_ = nullptr;
}

template class training_pass<float>;
template class training_pass<double>;

}  // namespace dlls::model

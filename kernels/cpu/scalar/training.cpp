// The reference: plain loops, sums in double, one template for float and double.
#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/cpu/training_tables.hpp"

namespace dlls::kernels::cpu {
namespace {

template <class Real>
void rms_norm(
    Real* y, Real* rstd, const Real* x, const Real* weight, std::size_t rows, std::size_t dim,
    double eps) {
  for (std::size_t r = 0; r < rows; ++r, x += dim, y += dim) {
    double squares = 0;
    for (std::size_t i = 0; i < dim; ++i) squares += double(x[i]) * double(x[i]);
    const double inverse = 1.0 / std::sqrt(squares / double(dim) + eps);
    rstd[r] = Real(inverse);
    for (std::size_t i = 0; i < dim; ++i) y[i] = Real(double(x[i]) * inverse * double(weight[i]));
  }
}

// With n = x rstd and g = dy weight: dx = rstd (g - n mean(g n)), dweight = sum over rows of dy n.
template <class Real>
void rms_norm_backward(
    Real* dx, Real* dweight, const Real* dy, const Real* x, const Real* weight, const Real* rstd,
    std::size_t rows, std::size_t dim) {
  for (std::size_t r = 0; r < rows; ++r, x += dim, dy += dim, dx += dim) {
    const double inverse = rstd[r];
    double dot = 0;
    for (std::size_t i = 0; i < dim; ++i) dot += double(dy[i]) * double(weight[i]) * double(x[i]);
    const double mean = dot * inverse / double(dim);
    for (std::size_t i = 0; i < dim; ++i) {
      const double normal = double(x[i]) * inverse;
      dx[i] += Real(inverse * (double(dy[i]) * double(weight[i]) - normal * mean));
      dweight[i] += Real(double(dy[i]) * normal);
    }
  }
}

template <class Real>
void rope(
    Real* x, const Real* table, const std::uint32_t* positions, std::size_t rows,
    std::size_t stride, std::size_t heads, std::size_t head_dim, bool backward) {
  for (std::size_t r = 0; r < rows; ++r, x += stride) {
    const Real* angles = table + positions[r] * head_dim;
    for (std::size_t i = 0; i < heads * head_dim; i += 2) {
      const double c = angles[i % head_dim];
      const double s = backward ? -double(angles[i % head_dim + 1]) : angles[i % head_dim + 1];
      const double a = x[i], b = x[i + 1];
      x[i] = Real(a * c - b * s);
      x[i + 1] = Real(a * s + b * c);
    }
  }
}

template <class Real>
double dot(const Real* a, const Real* b, std::size_t n) {
  double sum = 0;
  for (std::size_t i = 0; i < n; ++i) sum += double(a[i]) * double(b[i]);
  return sum;
}

template <class Real>
void attention(
    Real* out, Real* lse, const Real* q, const Real* k, const Real* v, const attention_shape& s,
    Real* scratch) {
  const double scale = 1.0 / std::sqrt(double(s.head_dim));
  for (std::size_t t = 0; t < s.tokens; ++t) {
    double largest = -std::numeric_limits<double>::infinity();
    for (std::size_t u = 0; u <= t; ++u) {
      const double score = scale * dot(q + t * s.qkv_stride, k + u * s.qkv_stride, s.head_dim);
      scratch[u] = Real(score);
      largest = std::max(largest, double(scratch[u]));
    }
    double sum = 0;
    for (std::size_t u = 0; u <= t; ++u) sum += std::exp(double(scratch[u]) - largest);
    lse[t] = Real(largest + std::log(sum));
    for (std::size_t i = 0; i < s.head_dim; ++i) {
      double value = 0;
      for (std::size_t u = 0; u <= t; ++u)
        value += std::exp(double(scratch[u]) - largest) * double(v[u * s.qkv_stride + i]);
      out[t * s.out_stride + i] = Real(value / sum);
    }
  }
}

// With P the probabilities and dP = dout v^T: dS = P (dP - rowsum(dP P)), and rowsum(dP P) equals
// dout . out (Dao et al. 2022, FlashAttention, appendix B.4).
template <class Real>
void attention_backward(
    Real* dq, Real* dk, Real* dv, const Real* dout, const Real* out, const Real* lse, const Real* q,
    const Real* k, const Real* v, const attention_shape& s, Real*) {
  const double scale = 1.0 / std::sqrt(double(s.head_dim));
  for (std::size_t t = 0; t < s.tokens; ++t) {
    const Real* dout_row = dout + t * s.out_stride;
    const Real* q_row = q + t * s.qkv_stride;
    const double delta = dot(dout_row, out + t * s.out_stride, s.head_dim);
    double dq_row[attention_head_dim_max] = {};
    for (std::size_t u = 0; u <= t; ++u) {
      const std::size_t at = u * s.qkv_stride;
      const double p = std::exp(scale * dot(q_row, k + at, s.head_dim) - double(lse[t]));
      const double ds = p * (dot(dout_row, v + at, s.head_dim) - delta) * scale;
      for (std::size_t i = 0; i < s.head_dim; ++i) {
        dq_row[i] += ds * double(k[at + i]);
        dk[at + i] += Real(ds * double(q_row[i]));
        dv[at + i] += Real(p * double(dout_row[i]));
      }
    }
    for (std::size_t i = 0; i < s.head_dim; ++i) dq[t * s.qkv_stride + i] = Real(dq_row[i]);
  }
}

std::size_t attention_scratch(const attention_shape& shape) { return shape.tokens; }

template <class Real>
void swiglu(Real* act, const Real* gate_up, std::size_t rows, std::size_t ff) {
  for (std::size_t r = 0; r < rows; ++r, act += ff, gate_up += 2 * ff)
    for (std::size_t i = 0; i < ff; ++i) {
      const double gate = gate_up[i];
      act[i] = Real(gate / (1.0 + std::exp(-gate)) * double(gate_up[ff + i]));
    }
}

template <class Real>
void swiglu_backward(Real* gate_up, Real* dact, std::size_t rows, std::size_t ff) {
  for (std::size_t r = 0; r < rows; ++r, dact += ff, gate_up += 2 * ff)
    for (std::size_t i = 0; i < ff; ++i) {
      const double gate = gate_up[i], up = gate_up[ff + i], d = dact[i];
      const double sigmoid = 1.0 / (1.0 + std::exp(-gate));
      const double silu = gate * sigmoid;
      gate_up[i] = Real(d * up * (sigmoid + silu * (1.0 - sigmoid)));
      gate_up[ff + i] = Real(d * silu);
      dact[i] = Real(silu * up);
    }
}

template <class Real>
double cross_entropy(
    Real* logits, const std::int32_t* targets, std::size_t rows, std::size_t vocab, double scale) {
  double loss = 0;
  for (std::size_t r = 0; r < rows; ++r, logits += vocab) {
    if (targets[r] == no_target) {
      std::fill(logits, logits + vocab, Real(0));
      continue;
    }
    const double largest = *std::max_element(logits, logits + vocab);
    double sum = 0;
    for (std::size_t i = 0; i < vocab; ++i) sum += std::exp(double(logits[i]) - largest);
    const double log_sum = largest + std::log(sum);
    loss += log_sum - double(logits[targets[r]]);
    for (std::size_t i = 0; i < vocab; ++i) {
      const double p = std::exp(double(logits[i]) - log_sum);
      logits[i] = Real(scale * (p - (i == std::size_t(targets[r]) ? 1.0 : 0.0)));
    }
  }
  return loss;
}

template <class Real>
void adamw(
    Real* weights, Real* moment1, Real* moment2, const Real* gradient, std::size_t n,
    const adamw_step& s) {
  const double correction1 = 1.0 - std::pow(s.beta1, double(s.step));
  const double correction2 = std::sqrt(1.0 - std::pow(s.beta2, double(s.step)));
  for (std::size_t i = 0; i < n; ++i) {
    const double g = double(gradient[i]) * s.gradient_scale;
    const double m = s.beta1 * double(moment1[i]) + (1.0 - s.beta1) * g;
    const double v = s.beta2 * double(moment2[i]) + (1.0 - s.beta2) * g * g;
    moment1[i] = Real(m);
    moment2[i] = Real(v);
    const double decayed = double(weights[i]) * (1.0 - s.learning_rate * s.weight_decay);
    const double update = m / (std::sqrt(v) / correction2 + s.eps);
    weights[i] = Real(decayed - s.learning_rate / correction1 * update);
  }
}

template <class Real>
double sum_of_squares(const Real* x, std::size_t n) {
  return dot(x, x, n);
}

template <class Real>
void add(Real* y, const Real* x, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) y[i] += x[i];
}

template <class Real>
void gemm(
    thread_pool&, bool transpose_a, bool transpose_b, std::size_t m, std::size_t n, std::size_t k,
    const Real* a, std::size_t lda, const Real* b, std::size_t ldb, Real beta, Real* c,
    std::size_t ldc) {
  for (std::size_t i = 0; i < m; ++i)
    for (std::size_t j = 0; j < n; ++j) {
      double sum = 0;
      for (std::size_t p = 0; p < k; ++p) {
        const Real left = transpose_a ? a[p * lda + i] : a[i * lda + p];
        const Real right = transpose_b ? b[j * ldb + p] : b[p * ldb + j];
        sum += double(left) * double(right);
      }
      c[i * ldc + j] = beta == Real(0) ? Real(sum) : Real(double(c[i * ldc + j]) + sum);
    }
}

template <class Real>
constexpr training_ops<Real> table = {
    "scalar",
    rms_norm<Real>,
    rms_norm_backward<Real>,
    rope<Real>,
    attention<Real>,
    attention_backward<Real>,
    attention_scratch,
    swiglu<Real>,
    swiglu_backward<Real>,
    cross_entropy<Real>,
    adamw<Real>,
    sum_of_squares<Real>,
    add<Real>,
    gemm<Real>,
};

}  // namespace

const training_ops<float>& training_scalar() { return table<float>; }
const training_ops<double>& training_scalar_double() { return table<double>; }

}  // namespace dlls::kernels::cpu

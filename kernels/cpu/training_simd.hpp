// The training operations for any vector width: written once, compiled by avx2/training.cpp and
// avx512/training.cpp, each with its own `vec` (a register type and the operations on it).
//
// Only for those two files. Everything depends on `vec`, which lives in their unnamed namespace, so
// no code of one instruction set can be linked into another; for the same reason no templates of
// the standard library are used here. Attention is in training_attention.hpp.
#pragma once
#include <math.h>

#include <cstddef>
#include <cstdint>

#include "kernels/training.hpp"

namespace dlls::kernels::cpu {

inline constexpr std::size_t sum_block = 4096;  // values summed in float before going to double

template <class vec>
struct training_simd {
  using reg = typename vec::reg;
  static constexpr std::size_t width = vec::width;

  // fn(load, store_at, count of lanes) over n values: whole registers, then one partial.
  template <class Fn>
  static void for_each(std::size_t n, Fn fn) {
    std::size_t i = 0;
    for (; i + width <= n; i += width) fn(i, width);
    if (i < n) fn(i, n - i);
  }
  static reg load(const float* p, std::size_t lanes) {
    return lanes == width ? vec::load(p) : vec::load_some(p, lanes);
  }
  static void store(float* p, reg x, std::size_t lanes) {
    if (lanes == width)
      vec::store(p, x);
    else
      vec::store_some(p, x, lanes);
  }

  static void rms_norm(
      float* y, float* rstd, const float* x, const float* weight, std::size_t rows, std::size_t dim,
      double eps) {
    for (std::size_t r = 0; r < rows; ++r, x += dim, y += dim) {
      reg squares = vec::zero();
      for_each(dim, [&](std::size_t i, std::size_t lanes) {
        const reg value = load(x + i, lanes);
        squares = vec::fma(value, value, squares);
      });
      const double mean = double(vec::sum(squares)) / double(dim);
      rstd[r] = float(1.0 / sqrt(mean + eps));
      const reg inverse = vec::set(rstd[r]);
      for_each(dim, [&](std::size_t i, std::size_t lanes) {
        const reg scaled = vec::mul(load(x + i, lanes), inverse);
        store(y + i, vec::mul(scaled, load(weight + i, lanes)), lanes);
      });
    }
  }

  static void rms_norm_backward(
      float* dx, float* dweight, const float* dy, const float* x, const float* weight,
      const float* rstd, std::size_t rows, std::size_t dim) {
    for (std::size_t r = 0; r < rows; ++r, x += dim, dy += dim, dx += dim) {
      reg dot = vec::zero();
      for_each(dim, [&](std::size_t i, std::size_t lanes) {
        const reg g = vec::mul(load(dy + i, lanes), load(weight + i, lanes));
        dot = vec::fma(g, load(x + i, lanes), dot);
      });
      const float inverse = rstd[r];
      const reg scale = vec::set(inverse);
      const reg mean = vec::set(vec::sum(dot) * inverse / float(dim));
      for_each(dim, [&](std::size_t i, std::size_t lanes) {
        const reg grad = load(dy + i, lanes);
        const reg normal = vec::mul(load(x + i, lanes), scale);
        const reg g = vec::mul(grad, load(weight + i, lanes));
        const reg inner = vec::fnma(normal, mean, g);
        store(dx + i, vec::fma(inner, scale, load(dx + i, lanes)), lanes);
        store(dweight + i, vec::fma(grad, normal, load(dweight + i, lanes)), lanes);
      });
    }
  }

  static void rope(
      float* x, const float* table, const std::uint32_t* positions, std::size_t rows,
      std::size_t stride, std::size_t heads, std::size_t head_dim, bool backward) {
    const reg sign = vec::set(backward ? -1.0F : 1.0F);
    for (std::size_t r = 0; r < rows; ++r, x += stride) {
      const float* angles = table + positions[r] * head_dim;
      for (std::size_t h = 0; h < heads; ++h)
        for_each(head_dim, [&](std::size_t i, std::size_t lanes) {
          float* at = x + h * head_dim + i;
          store(at, vec::rotate(load(at, lanes), load(angles + i, lanes), sign), lanes);
        });
    }
  }

  static void swiglu(float* act, const float* gate_up, std::size_t rows, std::size_t ff) {
    const reg one = vec::set(1.0F);
    for (std::size_t r = 0; r < rows; ++r, act += ff, gate_up += 2 * ff)
      for_each(ff, [&](std::size_t i, std::size_t lanes) {
        const reg gate = load(gate_up + i, lanes);
        const reg below = vec::add(one, vec::exp(vec::sub(vec::zero(), gate)));
        store(act + i, vec::mul(vec::div(gate, below), load(gate_up + ff + i, lanes)), lanes);
      });
  }

  static void swiglu_backward(float* gate_up, float* dact, std::size_t rows, std::size_t ff) {
    const reg one = vec::set(1.0F);
    for (std::size_t r = 0; r < rows; ++r, dact += ff, gate_up += 2 * ff)
      for_each(ff, [&](std::size_t i, std::size_t lanes) {
        const reg gate = load(gate_up + i, lanes);
        const reg up = load(gate_up + ff + i, lanes);
        const reg d = load(dact + i, lanes);
        const reg below = vec::add(one, vec::exp(vec::sub(vec::zero(), gate)));
        const reg sigmoid = vec::div(one, below);
        const reg silu = vec::mul(gate, sigmoid);
        const reg slope = vec::fma(silu, vec::sub(one, sigmoid), sigmoid);
        store(gate_up + i, vec::mul(vec::mul(d, up), slope), lanes);
        store(gate_up + ff + i, vec::mul(d, silu), lanes);
        store(dact + i, vec::mul(silu, up), lanes);
      });
  }

  // Two passes over a row after the largest value is known: exponentials and their sum, then the
  // scale. The sum leaves float every sum_block values.
  static double cross_entropy(
      float* logits, const std::int32_t* targets, std::size_t rows, std::size_t vocab,
      double scale) {
    double loss = 0;
    for (std::size_t r = 0; r < rows; ++r, logits += vocab) {
      if (targets[r] == no_target) {
        for_each(vocab, [&](std::size_t i, std::size_t lanes) {
          store(logits + i, vec::zero(), lanes);
        });
        continue;
      }
      const float largest = max_of(logits, vocab);
      const double target_logit = logits[targets[r]];
      const reg shift = vec::set(largest);
      double sum = 0;
      for (std::size_t from = 0; from < vocab; from += sum_block) {
        const std::size_t n = vocab - from < sum_block ? vocab - from : sum_block;
        reg part = vec::zero();
        for_each(n, [&](std::size_t i, std::size_t lanes) {
          float* at = logits + from + i;
          const reg e = vec::exp(vec::sub(load(at, lanes), shift));
          store(at, e, lanes);
          part = vec::add(part, lanes == width ? e : vec::keep(e, lanes));
        });
        sum += double(vec::sum(part));
      }
      loss += double(largest) + log(sum) - target_logit;
      const reg factor = vec::set(float(scale / sum));
      for_each(vocab, [&](std::size_t i, std::size_t lanes) {
        store(logits + i, vec::mul(load(logits + i, lanes), factor), lanes);
      });
      logits[targets[r]] -= float(scale);
    }
    return loss;
  }

  static void adamw(
      float* weights, float* moment1, float* moment2, const float* gradient, std::size_t n,
      const adamw_step& s) {
    const double correction1 = 1.0 - pow(s.beta1, double(s.step));
    const double correction2 = sqrt(1.0 - pow(s.beta2, double(s.step)));
    const reg scale = vec::set(float(s.gradient_scale));
    const reg beta1 = vec::set(float(s.beta1)), rest1 = vec::set(float(1.0 - s.beta1));
    const reg beta2 = vec::set(float(s.beta2)), rest2 = vec::set(float(1.0 - s.beta2));
    const reg decay = vec::set(float(1.0 - s.learning_rate * s.weight_decay));
    const reg rate = vec::set(float(s.learning_rate / correction1));
    const reg root = vec::set(float(1.0 / correction2)), eps = vec::set(float(s.eps));
    for_each(n, [&](std::size_t i, std::size_t lanes) {
      const reg g = vec::mul(load(gradient + i, lanes), scale);
      const reg m = vec::fma(beta1, load(moment1 + i, lanes), vec::mul(rest1, g));
      const reg v = vec::fma(beta2, load(moment2 + i, lanes), vec::mul(rest2, vec::mul(g, g)));
      store(moment1 + i, m, lanes);
      store(moment2 + i, v, lanes);
      const reg update = vec::div(m, vec::fma(vec::sqrt(v), root, eps));
      const reg decayed = vec::mul(load(weights + i, lanes), decay);
      store(weights + i, vec::fnma(rate, update, decayed), lanes);
    });
  }

  static double sum_of_squares(const float* x, std::size_t n) {
    double sum = 0;
    for (std::size_t from = 0; from < n; from += sum_block) {
      const std::size_t count = n - from < sum_block ? n - from : sum_block;
      reg even = vec::zero(), odd = vec::zero();
      std::size_t i = 0;
      for (; i + 2 * width <= count; i += 2 * width) {
        const reg a = vec::load(x + from + i), b = vec::load(x + from + i + width);
        even = vec::fma(a, a, even);
        odd = vec::fma(b, b, odd);
      }
      for (; i < count; i += width) {
        const reg a = load(x + from + i, count - i < width ? count - i : width);
        even = vec::fma(a, a, even);
      }
      sum += double(vec::sum(vec::add(even, odd)));
    }
    return sum;
  }

  static void add(float* y, const float* x, std::size_t n) {
    for_each(n, [&](std::size_t i, std::size_t lanes) {
      store(y + i, vec::add(load(y + i, lanes), load(x + i, lanes)), lanes);
    });
  }

  static float max_of(const float* x, std::size_t n) {
    float largest = x[0];
    if (n >= width) {
      reg best = vec::load(x);
      for (std::size_t i = width; i + width <= n; i += width)
        best = vec::max(best, vec::load(x + i));
      largest = vec::largest(best);
    }
    for (std::size_t i = n / width * width; i < n; ++i) largest = x[i] > largest ? x[i] : largest;
    return largest;
  }
};

}  // namespace dlls::kernels::cpu

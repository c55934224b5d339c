// Causal attention, forward and backward, for any vector width (see training_simd.hpp).
//
// A head is copied into contiguous, zero-padded scratch first, keys and values also transposed, so
// that every product below is C += A B with rows of B and C made of whole registers, and all run on
// one register-blocked function. Queries go in blocks of `query_block` rows: one strip of scores
// (query_block, tokens) exists at a time, never a square. What lies above the diagonal is skipped
// in steps of `tile` rows.
#pragma once
#include "kernels/cpu/training_simd.hpp"

namespace dlls::kernels::cpu {

template <class vec>
struct attention_simd {
  using reg = typename vec::reg;
  using basic = training_simd<vec>;
  static constexpr std::size_t width = vec::width;
  static constexpr std::size_t tile = 4;          // rows of C held in registers
  static constexpr std::size_t pad = 16;          // tokens and head_dim are padded to this
  static constexpr std::size_t query_block = 32;  // a multiple of pad
  static constexpr std::size_t padded(std::size_t n) { return (n + pad - 1) / pad * pad; }

  // C (tile, Columns registers) = or += A (tile, depth) B (depth, Columns registers). A's element
  // (r, p) is a[r * row_step + p * depth_step]: either order of A serves.
  template <std::size_t Columns, bool Accumulate>
  static void product_tile(
      float* c, std::size_t ldc, const float* a, std::size_t row_step, std::size_t depth_step,
      const float* b, std::size_t ldb, std::size_t depth) {
    reg sum[tile][Columns];
    for (std::size_t r = 0; r < tile; ++r)
      for (std::size_t j = 0; j < Columns; ++j)
        sum[r][j] = Accumulate ? vec::load(c + r * ldc + j * width) : vec::zero();
    for (std::size_t p = 0; p < depth; ++p, a += depth_step, b += ldb) {
      reg row[Columns];
      for (std::size_t j = 0; j < Columns; ++j) row[j] = vec::load(b + j * width);
      for (std::size_t r = 0; r < tile; ++r) {
        const reg left = vec::set(a[r * row_step]);
        for (std::size_t j = 0; j < Columns; ++j) sum[r][j] = vec::fma(left, row[j], sum[r][j]);
      }
    }
    for (std::size_t r = 0; r < tile; ++r)
      for (std::size_t j = 0; j < Columns; ++j) vec::store(c + r * ldc + j * width, sum[r][j]);
  }

  // The same for any number of columns that is a multiple of the width.
  template <bool Accumulate>
  static void product(
      float* c, std::size_t ldc, std::size_t columns, const float* a, std::size_t row_step,
      std::size_t depth_step, const float* b, std::size_t ldb, std::size_t depth) {
    constexpr std::size_t most = vec::product_columns;
    std::size_t j = 0;
    for (; j + most * width <= columns; j += most * width)
      product_tile<most, Accumulate>(c + j, ldc, a, row_step, depth_step, b + j, ldb, depth);
    for (; j + 2 * width <= columns; j += 2 * width)
      product_tile<2, Accumulate>(c + j, ldc, a, row_step, depth_step, b + j, ldb, depth);
    for (; j < columns; j += width)
      product_tile<1, Accumulate>(c + j, ldc, a, row_step, depth_step, b + j, ldb, depth);
  }

  // to (padded tokens, padded head_dim), zero beyond what there is.
  static void pack(float* to, const float* from, std::size_t stride, const attention_shape& s) {
    const std::size_t row = padded(s.head_dim);
    for (std::size_t t = 0; t < padded(s.tokens); ++t, to += row) {
      const std::size_t filled = t < s.tokens ? s.head_dim : 0;
      for (std::size_t i = 0; i < filled; ++i) to[i] = from[t * stride + i];
      for (std::size_t i = filled; i < row; ++i) to[i] = 0;
    }
  }
  // to (head_dim, padded tokens) from packed (padded tokens, padded head_dim).
  static void turn(float* to, const float* packed, const attention_shape& s) {
    const std::size_t row = padded(s.head_dim), columns = padded(s.tokens);
    for (std::size_t t0 = 0; t0 < columns; t0 += pad)
      for (std::size_t i = 0; i < s.head_dim; ++i)
        for (std::size_t t = t0; t < t0 + pad; ++t) to[i * columns + t] = packed[t * row + i];
  }

  // scores (rows, columns) of the queries first... against all keys up to the diagonal's block.
  static void scores(
      float* to, const float* q, const float* turned, std::size_t first, std::size_t rows,
      const attention_shape& s) {
    const std::size_t stride = padded(s.tokens), row = padded(s.head_dim);
    constexpr std::size_t chunk = vec::product_columns * width;
    const std::size_t seen = first + rows;
    for (std::size_t j = 0; j < seen; j += chunk)
      for (std::size_t r = 0; r < rows; r += tile) {
        const std::size_t end = padded(first + r + tile);  // the last column this tile needs
        if (j >= end) continue;
        const std::size_t columns = end - j < chunk ? end - j : chunk;
        product<false>(
            to + r * stride + j, stride, columns, q + (first + r) * row, row, 1, turned + j, stride,
            s.head_dim);
      }
  }

  // Row of scores to probabilities in place; zero from `seen` up to `end`. Returns log sum exp.
  static float softmax(float* x, std::size_t seen, std::size_t end, float scale) {
    const float largest = basic::max_of(x, seen) * scale;
    const reg factor = vec::set(scale), shift = vec::set(-largest);
    reg total = vec::zero();
    basic::for_each(seen, [&](std::size_t i, std::size_t lanes) {
      const reg e = vec::exp(vec::fma(basic::load(x + i, lanes), factor, shift));
      basic::store(x + i, e, lanes);
      total = vec::add(total, lanes == width ? e : vec::keep(e, lanes));
    });
    const float sum = vec::sum(total);
    const reg inverse = vec::set(1.0F / sum);
    basic::for_each(seen, [&](std::size_t i, std::size_t lanes) {
      basic::store(x + i, vec::mul(basic::load(x + i, lanes), inverse), lanes);
    });
    for (std::size_t i = seen; i < end; ++i) x[i] = 0;
    return largest + logf(sum);
  }

  static std::size_t scratch_values(const attention_shape& s) {
    const std::size_t head = padded(s.tokens) * padded(s.head_dim);
    return 8 * head + 2 * query_block * padded(s.tokens) + query_block * padded(s.head_dim);
  }

  static std::size_t rows_from(std::size_t first, std::size_t tokens) {
    const std::size_t left = padded(tokens) - first;
    return left < query_block ? left : query_block;
  }

  static void forward(
      float* out, float* lse, const float* q, const float* k, const float* v,
      const attention_shape& s, float* scratch) {
    const std::size_t stride = padded(s.tokens), row = padded(s.head_dim), head = stride * row;
    float *queries = scratch, *keys = queries + head, *turned = keys + head;
    float *values = turned + head, *strip = values + head, *result = strip + query_block * stride;
    pack(queries, q, s.qkv_stride, s);
    pack(keys, k, s.qkv_stride, s);
    pack(values, v, s.qkv_stride, s);
    turn(turned, keys, s);
    const float scale = 1.0F / sqrtf(float(s.head_dim));
    for (std::size_t first = 0; first < s.tokens; first += query_block) {
      const std::size_t rows = rows_from(first, s.tokens);
      scores(strip, queries, turned, first, rows, s);
      for (std::size_t r = 0; r < rows; r += tile) {
        const std::size_t depth = first + r + tile;  // keys this tile sees
        for (std::size_t i = r; i < r + tile; ++i) {
          const float sum = softmax(strip + i * stride, first + i + 1, depth, scale);
          if (first + i < s.tokens) lse[first + i] = sum;
        }
        product<false>(
            result + r * row, row, row, strip + r * stride, stride, 1, values, row, depth);
      }
      for (std::size_t r = 0; r < rows && first + r < s.tokens; ++r)
        for (std::size_t i = 0; i < s.head_dim; ++i)
          out[(first + r) * s.out_stride + i] = result[r * row + i];
    }
  }

  // Row of scores x to P and row of dP to dS, both zero from `seen` up to `end`.
  static void softmax_backward(
      float* x, float* dp, std::size_t seen, std::size_t end, float scale, float lse, float delta) {
    const reg factor = vec::set(scale), shift = vec::set(-lse), mean = vec::set(delta);
    basic::for_each(seen, [&](std::size_t i, std::size_t lanes) {
      const reg p = vec::exp(vec::fma(basic::load(x + i, lanes), factor, shift));
      const reg ds = vec::mul(vec::mul(p, factor), vec::sub(basic::load(dp + i, lanes), mean));
      basic::store(x + i, p, lanes);
      basic::store(dp + i, ds, lanes);
    });
    for (std::size_t i = seen; i < end; ++i) x[i] = dp[i] = 0;
  }

  struct backward_parts {
    float *queries, *keys, *values, *douts, *turned_keys, *turned_values, *dkeys, *dvalues;
    float *strip, *dstrip, *dqueries;
  };
  static backward_parts split(float* scratch, std::size_t head, std::size_t strip) {
    float* at[11];
    for (std::size_t i = 0; i < 9; ++i) at[i] = scratch + i * head;
    at[9] = at[8] + strip;
    at[10] = at[9] + strip;
    return {at[0], at[1], at[2], at[3], at[4], at[5], at[6], at[7], at[8], at[9], at[10]};
  }

  // One block of queries: P and dS, then dq, dK += dS^T q, dV += P^T dout.
  static void backward_block(
      float* dq, const backward_parts& w, const float* dout, const float* out, const float* lse,
      std::size_t first, const attention_shape& s) {
    const std::size_t stride = padded(s.tokens), row = padded(s.head_dim);
    const std::size_t rows = rows_from(first, s.tokens), last = first + rows;
    const float scale = 1.0F / sqrtf(float(s.head_dim));
    scores(w.strip, w.queries, w.turned_keys, first, rows, s);
    scores(w.dstrip, w.douts, w.turned_values, first, rows, s);
    for (std::size_t r = 0; r < rows; ++r) {
      const std::size_t t = first + r;
      const bool real = t < s.tokens;
      float delta = 0;
      for (std::size_t i = 0; real && i < s.head_dim; ++i)
        delta += dout[t * s.out_stride + i] * out[t * s.out_stride + i];
      softmax_backward(
          w.strip + r * stride, w.dstrip + r * stride, real ? t + 1 : 0, last, scale,
          real ? lse[t] : 0.0F, delta);
    }
    for (std::size_t r = 0; r < rows; r += tile)
      product<false>(
          w.dqueries + r * row, row, row, w.dstrip + r * stride, stride, 1, w.keys, row,
          first + r + tile);
    for (std::size_t r = 0; r < rows && first + r < s.tokens; ++r)
      for (std::size_t i = 0; i < s.head_dim; ++i)
        dq[(first + r) * s.qkv_stride + i] = w.dqueries[r * row + i];
    for (std::size_t u = 0; u < last; u += tile) {
      const std::size_t from = u > first ? u - first : 0;  // queries before u don't see it
      const std::size_t at = from * stride + u, depth = rows - from;
      product<true>(
          w.dkeys + u * row, row, row, w.dstrip + at, 1, stride, w.queries + (first + from) * row,
          row, depth);
      product<true>(
          w.dvalues + u * row, row, row, w.strip + at, 1, stride, w.douts + (first + from) * row,
          row, depth);
    }
  }

  static void backward(
      float* dq, float* dk, float* dv, const float* dout, const float* out, const float* lse,
      const float* q, const float* k, const float* v, const attention_shape& s, float* scratch) {
    const std::size_t stride = padded(s.tokens), row = padded(s.head_dim), head = stride * row;
    const backward_parts w = split(scratch, head, query_block * stride);
    pack(w.queries, q, s.qkv_stride, s);
    pack(w.keys, k, s.qkv_stride, s);
    pack(w.values, v, s.qkv_stride, s);
    pack(w.douts, dout, s.out_stride, s);
    turn(w.turned_keys, w.keys, s);
    turn(w.turned_values, w.values, s);
    for (std::size_t i = 0; i < head; ++i) w.dkeys[i] = w.dvalues[i] = 0;
    for (std::size_t first = 0; first < s.tokens; first += query_block)
      backward_block(dq, w, dout, out, lse, first, s);
    for (std::size_t t = 0; t < s.tokens; ++t)
      for (std::size_t i = 0; i < s.head_dim; ++i) {
        dk[t * s.qkv_stride + i] += w.dkeys[t * row + i];
        dv[t * s.qkv_stride + i] += w.dvalues[t * row + i];
      }
  }
};

}  // namespace dlls::kernels::cpu

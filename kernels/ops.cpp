#include "kernels/ops.hpp"

#include <algorithm>

#include "base/check.hpp"
#include "kernels/backend.hpp"
#include "kernels/dispatch.hpp"

namespace dlls::kernels {
namespace {

// Columns are taken in blocks whose activations stay in a second-level cache beside a panel.
constexpr std::size_t column_block_bytes = 256u << 10;
// Pieces a thread: enough to even out a thread that is late, few enough to cost nothing.
constexpr std::size_t pieces_per_thread = 4;

void multiply_panels(
    const inference_ops& ops, const product& p, const activation_rows& x, std::size_t begin,
    std::size_t end) {
  const bool integers = is_quantised(p.weights->type) && x.q8 != nullptr;
  const auto blocks = x.columns / block_values;
  const auto row_bytes = integers ? blocks * sizeof(q8_block) : x.columns * sizeof(float);
  const auto step = std::max<std::size_t>(column_block_bytes / row_bytes / 24 * 24, 24);
  for (std::size_t row = 0; row < x.rows; row += step) {
    const auto rows = std::min(step, x.rows - row);
    float* y = p.y + row * p.y_stride;
    if (integers)
      ops.matmul_q8(
          {y, p.y_stride, p.weights, begin, end, x.q8 + row * blocks, rows, p.accumulate});
    else
      ops.matmul_f32(
          {y, p.y_stride, p.weights, begin, end, x.values + row * x.columns, rows, p.accumulate});
  }
}

}  // namespace

const inference_ops& inference_ops_for(isa which) {
#if defined(DLLS_KERNELS_X86)
  if (which == isa::avx512) return avx512_inference_ops();
  if (which == isa::avx2) return avx2_inference_ops();
#endif
  return scalar_inference_ops();
}

const inference_ops& inference_backend() { return inference_ops_for(active()); }

void matmul(thread_pool& pool, std::span<const product> products, const activation_rows& x) {
  if (x.rows == 0) return;
  std::size_t panels = 0;
  for (const auto& p : products) {
    base::check(p.weights->columns == x.columns, "weights and activations of one width");
    panels += p.weights->panels();
  }
  const auto& ops = inference_backend();
  const auto pieces = pool.threads() == 1 ? 1 : pool.threads() * pieces_per_thread;
  const auto grain = (panels + pieces - 1) / pieces;
  parallel_for(pool, panels, grain, [&](std::size_t begin, std::size_t end) {
    std::size_t first = 0;  // panel number of the product at hand among all
    for (const auto& p : products) {
      const auto next = first + p.weights->panels();
      if (begin < next && end > first)
        multiply_panels(ops, p, x, std::max(begin, first) - first, std::min(end, next) - first);
      first = next;
    }
  });
}

void quantise_q8(q8_block* out, const float* x, std::size_t n) {
  inference_backend().quantise_q8(out, x, n);
}
void rms_norm(float* out, const float* x, const float* weight, std::size_t n, float eps) {
  inference_backend().rms_norm(out, x, weight, n, eps);
}
void rope(float* x, const float* table, std::size_t heads, std::size_t head_dim, rope_pairs pairs) {
  inference_backend().rope(x, table, heads, head_dim, pairs);
}
void swiglu(float* out, const float* gate, const float* up, std::size_t n) {
  inference_backend().swiglu(out, gate, up, n);
}
void geglu(float* out, const float* gate, const float* up, std::size_t n) {
  inference_backend().geglu(out, gate, up, n);
}
void add(float* y, const float* x, std::size_t n) { inference_backend().add(y, x, n); }
float log_sum_exp(const float* x, std::size_t n) { return inference_backend().log_sum_exp(x, n); }
void softmax(float* x, std::size_t n) { inference_backend().softmax(x, n); }
void kv_store(const kv_view& cache, std::size_t position, const float* k, const float* v) {
  inference_backend().kv_store(cache, position, k, v);
}

}  // namespace dlls::kernels

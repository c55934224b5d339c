// Splits attention into pieces and joins what they found.
#include <algorithm>
#include <cmath>

#include "base/check.hpp"
#include "kernels/backend.hpp"
#include "kernels/ops.hpp"

namespace dlls::kernels {
namespace {

// A single query over many positions is cut along the positions, so that all threads have work;
// the cut depends on the length alone, and so does the result.
constexpr std::size_t chunk_positions = 256;
constexpr std::size_t chunks_max = 64;

struct plan {
  std::size_t group;   // heads that share a key-value head
  std::size_t rows;    // query rows of one key-value head
  std::size_t tiles;   // of attend_rows_max rows
  std::size_t chunk;   // positions
  std::size_t chunks;  // 1 unless there is a single tile
};

plan plan_for(const attention_rows& a, const kv_view& cache) {
  plan p{};
  p.group = a.heads / cache.kv_heads;
  p.rows = a.rows * p.group;
  p.tiles = (p.rows + attend_rows_max - 1) / attend_rows_max;
  const auto length = a.first + a.rows;
  p.chunk = length;
  p.chunks = 1;
  if (p.tiles == 1 && length > chunk_positions) {
    const auto least = (length + chunks_max - 1) / chunks_max;
    p.chunk = std::max(
        chunk_positions, (least + attend_positions - 1) / attend_positions * attend_positions);
    p.chunks = (length + p.chunk - 1) / p.chunk;
  }
  return p;
}

// What attend() leaves of one row and chunk: its output, then peak and sum.
struct partial {
  const float* out;
  float peak;
  float sum;
};

// Joins the chunks of one row: each counts by exp(peak - highest peak).
template <class PartialAt>
void join(float* out, std::size_t head_dim, std::size_t chunks, PartialAt at) {
  float peak = -INFINITY, sum = 0;
  for (std::size_t c = 0; c < chunks; ++c) peak = std::max(peak, at(c).peak);
  std::fill_n(out, head_dim, 0.0f);
  for (std::size_t c = 0; c < chunks; ++c) {
    const partial part = at(c);
    if (part.sum == 0) continue;  // the row sees nothing of this chunk
    const float weight = chunks == 1 ? 1.0f : std::exp(part.peak - peak);
    sum += weight * part.sum;
    for (std::size_t i = 0; i < head_dim; ++i) out[i] += weight * part.out[i];
  }
  const float inverse = 1.0f / sum;
  for (std::size_t i = 0; i < head_dim; ++i) out[i] *= inverse;
}

}  // namespace

std::size_t attention_scratch(const attention_rows& rows, const kv_view& cache) {
  const auto p = plan_for(rows, cache);
  return cache.kv_heads * p.chunks * p.rows * (cache.value_stride() + 2);
}

void attention(thread_pool& pool, const attention_rows& a, const kv_view& cache, float* scratch) {
  base::check(
      cache.head_dim <= head_dim_max && a.heads % cache.kv_heads == 0 &&
          a.first + a.rows <= cache.capacity,
      "attention within its limits");
  if (a.rows == 0) return;
  const auto& ops = inference_backend();
  const auto p = plan_for(a, cache);
  const auto stride = cache.value_stride();
  const auto slots = cache.kv_heads * p.chunks * p.rows;  // (kv_heads, chunks, rows)
  float* const peaks = scratch + slots * stride;
  float* const sums = peaks + slots;
  // Later tiles see more positions, so the largest pieces go first.
  parallel_for(pool, cache.kv_heads * p.tiles * p.chunks, 1, [&](std::size_t piece, std::size_t) {
    const auto kv_head = piece % cache.kv_heads, rest = piece / cache.kv_heads;
    const auto tile = p.tiles - 1 - rest % p.tiles, chunk = rest / p.tiles;
    const auto begin = tile * attend_rows_max, end = std::min(p.rows, begin + attend_rows_max);
    const auto slot = (kv_head * p.chunks + chunk) * p.rows;
    const auto last_seen = a.first + (end - 1) / p.group + 1;
    ops.attend(
        {.q = a.q + kv_head * p.group * cache.head_dim,
         .q_stride = a.q_stride,
         .group = p.group,
         .row_begin = begin,
         .row_end = end,
         .first = a.first,
         .window = a.window,
         .cache = &cache,
         .kv_head = kv_head,
         .begin = chunk * p.chunk,
         .end = std::min(last_seen, (chunk + 1) * p.chunk),
         .out = scratch + (slot + begin) * stride,
         .peak = peaks + slot + begin,
         .sum = sums + slot + begin});
    if (p.chunks > 1) return;
    for (auto r = begin; r < end; ++r)
      join(
          a.out + r / p.group * a.out_stride + (kv_head * p.group + r % p.group) * cache.head_dim,
          cache.head_dim, 1, [&](std::size_t) {
            return partial{scratch + (slot + r) * stride, peaks[slot + r], sums[slot + r]};
          });
  });
  if (p.chunks == 1) return;
  for (std::size_t row = 0; row < a.rows * a.heads; ++row) {
    const auto token = row / a.heads, head = row % a.heads;
    join(
        a.out + token * a.out_stride + head * cache.head_dim, cache.head_dim, p.chunks,
        [&](std::size_t c) {
          const auto slot =
              (head / p.group * p.chunks + c) * p.rows + token * p.group + head % p.group;
          return partial{scratch + slot * stride, peaks[slot], sums[slot]};
        });
  }
}

}  // namespace dlls::kernels

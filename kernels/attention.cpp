// Splits attention into pieces and joins what they found.
#include <algorithm>
#include <cmath>

#include "base/check.hpp"
#include "kernels/backend.hpp"
#include "kernels/ops.hpp"

namespace dlls::kernels {
namespace {

// The positions of a row are taken in chunks of this many, each with a softmax of its own, which
// are joined in order. So few rows over many positions are work for all threads; and since all rows
// are cut alike, a row's result is the same whether it comes alone or among others.
constexpr std::size_t chunk_positions = 512;
static_assert(chunk_positions % kv_page_positions == 0);

struct plan {
  std::size_t group;   // heads that share a key-value head
  std::size_t rows;    // query rows of one key-value head
  std::size_t tiles;   // of attend_rows_max rows
  std::size_t chunks;  // of positions
  bool split;          // a piece of work is one chunk; else all chunks of a tile, in order

  explicit plan(const attention_rows& a)
      : group(a.heads / a.cache.kv_heads),
        rows(a.rows * group),
        tiles((rows + attend_rows_max - 1) / attend_rows_max),
        chunks((a.first + a.rows + chunk_positions - 1) / chunk_positions),
        split(tiles == 1 && chunks > 1) {}

  // Key-value heads that one piece takes. Many of them read memory in longer runs, which is what
  // few rows wait for; but a piece is to be no more than `share` positions of one head, a thread's
  // part of all work. No row's result depends on it.
  std::size_t together(const attention_rows& a, std::size_t share) const {
    if (rows == 0 || tiles > 1) return 1;
    const auto positions = a.first + a.rows;
    const auto fit = share / (split ? chunk_positions : positions);
    return std::clamp<std::size_t>(fit, 1, std::min(a.cache.kv_heads, attend_rows_max / rows));
  }
  static std::size_t strips(const attention_rows& a, std::size_t together) {
    return (a.cache.kv_heads + together - 1) / together;
  }
  std::size_t pieces(const attention_rows& a) const {
    return strips(a, a.together) * tiles * (split ? chunks : 1);
  }
  // Rows whose partial results are kept: of every chunk, or of the last one and of those before.
  std::size_t slots(const attention_rows& a) const {
    return a.cache.kv_heads * rows * (split ? chunks : 2);
  }
  std::size_t scratch(const attention_rows& a) const {
    return a.rows == 0 ? 0 : slots(a) * (a.cache.value_stride() + 2);
  }
};

// What attend() leaves of some rows and one chunk, a row's output `stride` after the other's.
struct partial {
  float* out;
  float* peak;
  float* sum;

  partial row(std::size_t r, std::size_t stride) const {
    return {out + r * stride, peak + r, sum + r};
  }
};

// A sequence's partial results in the scratch memory: (slots, stride), (slots), (slots).
partial partials(const attention_rows& a, const plan& p, float* scratch) {
  float* const out = scratch + a.scratch_at;
  float* const peak = out + p.slots(a) * a.cache.value_stride();
  return {out, peak, peak + p.slots(a)};
}

// Adds what a later chunk found to one row: each counts by exp(peak - the higher peak).
void join(const partial& row, const partial& later, std::size_t head_dim) {
  if (*later.sum == 0) return;  // the row sees nothing of that chunk
  const float peak = std::max(*row.peak, *later.peak);
  const float mine = std::exp(*row.peak - peak), its = std::exp(*later.peak - peak);
  for (std::size_t i = 0; i < head_dim; ++i) row.out[i] = mine * row.out[i] + its * later.out[i];
  *row.sum = mine * *row.sum + its * *later.sum;
  *row.peak = peak;
}

void finish(float* out, const partial& row, std::size_t head_dim) {
  const float inverse = 1.0f / *row.sum;
  for (std::size_t i = 0; i < head_dim; ++i) out[i] = row.out[i] * inverse;
}

// Where row r of a key-value head goes in the output.
float* output_of(const attention_rows& a, const plan& p, std::size_t kv_head, std::size_t r) {
  return a.out + r / p.group * a.out_stride + (kv_head * p.group + r % p.group) * a.cache.head_dim;
}

// A tile's rows of some key-value heads.
struct piece_of_work {
  std::size_t kv_head;
  std::size_t kv_heads;
  std::size_t begin;  // rows of a key-value head
  std::size_t end;

  std::size_t rows() const { return kv_heads * (end - begin); }
};

void attend_chunk(
    const attention_rows& a, const plan& p, const piece_of_work& w, std::size_t chunk,
    const partial& into) {
  const auto last_seen = a.first + (w.end - 1) / p.group + 1;
  inference_backend().attend(
      {.q = a.q + w.kv_head * p.group * a.cache.head_dim,
       .q_stride = a.q_stride,
       .group = p.group,
       .row_begin = w.begin,
       .row_end = w.end,
       .first = a.first,
       .window = a.window,
       .cache = &a.cache,
       .kv_head = w.kv_head,
       .kv_heads = w.kv_heads,
       .begin = chunk * chunk_positions,
       .end = std::min(last_seen, (chunk + 1) * chunk_positions),
       .out = into.out,
       .peak = into.peak,
       .sum = into.sum});
}

void attend_piece(const attention_rows& a, std::size_t piece, float* scratch) {
  const plan p(a);
  const auto& c = a.cache;
  const auto stride = c.value_stride();
  const auto strips = plan::strips(a, a.together);
  const auto kv_head = piece % strips * a.together, rest = piece / strips;
  // Later tiles see more positions, so the largest pieces go first.
  const auto begin = (p.tiles - 1 - rest % p.tiles) * attend_rows_max;
  const piece_of_work w{
      kv_head, std::min(a.together, c.kv_heads - kv_head), begin,
      std::min(p.rows, begin + attend_rows_max)};
  const auto all = partials(a, p, scratch);
  const auto slots_of = [&](std::size_t chunk) {
    return all.row((chunk * c.kv_heads + kv_head) * p.rows + begin, stride);
  };
  if (p.split) return attend_chunk(a, p, w, rest, slots_of(rest));
  const auto sum = slots_of(0), next = slots_of(1);
  const auto own = a.first + begin / p.group;  // the first row's position
  auto chunk = a.window == 0 || own < a.window ? 0 : (own + 1 - a.window) / chunk_positions;
  attend_chunk(a, p, w, chunk, sum);
  for (++chunk; chunk * chunk_positions < a.first + (w.end - 1) / p.group + 1; ++chunk) {
    attend_chunk(a, p, w, chunk, next);
    for (std::size_t r = 0; r < w.rows(); ++r)
      join(sum.row(r, stride), next.row(r, stride), c.head_dim);
  }
  const auto rows = w.end - w.begin;  // of a key-value head
  for (std::size_t r = 0; r < w.rows(); ++r)
    finish(output_of(a, p, kv_head + r / rows, begin + r % rows), sum.row(r, stride), c.head_dim);
}

void join_chunks(const attention_rows& a, float* scratch) {
  const plan p(a);
  const auto stride = a.cache.value_stride(), rows = a.cache.kv_heads * p.rows;
  const auto all = partials(a, p, scratch);
  for (std::size_t r = 0; r < rows; ++r) {
    const auto sum = all.row(r, stride);
    for (std::size_t chunk = 1; chunk < p.chunks; ++chunk)
      join(sum, all.row(r + chunk * rows, stride), a.cache.head_dim);
    finish(output_of(a, p, r / p.rows, r % p.rows), sum, a.cache.head_dim);
  }
}

}  // namespace

std::size_t attention_scratch(std::span<const attention_rows> sequences) {
  std::size_t sum = 0;
  for (const auto& a : sequences) sum += plan(a).scratch(a);
  return sum;
}

void attention(thread_pool& pool, std::span<attention_rows> sequences, float* scratch) {
  std::size_t positions = 0, pieces = 0, numbers = 0;
  for (const auto& a : sequences) positions += a.cache.kv_heads * (a.first + a.rows);
  for (auto& a : sequences) {
    base::check(
        a.cache.head_dim <= head_dim_max && a.heads % a.cache.kv_heads == 0 &&
            a.first + a.rows <= a.cache.capacity(),
        "attention within its limits");
    const plan p(a);
    a.together = p.together(a, positions / pool.threads());
    a.first_piece = pieces;
    a.scratch_at = numbers;
    pieces += p.pieces(a);
    numbers += p.scratch(a);
  }
  parallel_for(pool, pieces, 1, [&](std::size_t piece, std::size_t) {
    const auto after = std::upper_bound(
        sequences.begin(), sequences.end(), piece,
        [](std::size_t wanted, const attention_rows& a) { return wanted < a.first_piece; });
    const auto& a = *(after - 1);
    attend_piece(a, piece - a.first_piece, scratch);
  });
  for (const auto& a : sequences)
    if (a.rows > 0 && plan(a).split) join_chunks(a, scratch);
}

}  // namespace dlls::kernels

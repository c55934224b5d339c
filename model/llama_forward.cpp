// The forward pass of the LLaMA family (Touvron et al. 2023): for each layer
//   x += o(attention(rope(q(n)), rope(k(n)), v(n))), n = rms_norm(x)
//   x += down(swiglu(gate(m), up(m))),               m = rms_norm(x)
// and logits = output(rms_norm(x)); with the steps that llama_traits ask for.
#include <algorithm>
#include <cmath>

#include "base/check.hpp"
#include "kernels/ops.hpp"
#include "model/llama.hpp"
#include "model/llama_weights.hpp"
#include "model/llama_workspace.hpp"

namespace dlls::model {
namespace {

// Which rows of a piece must come out of the last layer.
enum class wanted { none, last, all };

// With fewer rows than this the calling thread is done before another one has woken up.
constexpr std::size_t rows_worth_sharing = 8;
// Rows whose logits forward_each holds at once.
constexpr std::size_t logit_rows = 16;

// One piece of a sequence on its way through the layers. Rows [first_row, rows) are computed; all
// are until the last layer, which needs only what is wanted.
class pass {
 public:
  pass(const llama& model, kv_cache& cache, kernels::thread_pool& pool)
      : w_(model.parts()), c_(w_.config), cache_(cache), ws_(cache.scratch()), pool_(pool) {}

  void run(std::span<const token_id> tokens, wanted rows);
  // Logits of rows [begin, begin + n) of the piece, (n, vocab).
  void logits(float* out, std::size_t begin, std::size_t n);

 private:
  std::size_t heads_width() const { return std::size_t{c_.heads} * c_.head_dim; }
  std::size_t kv_width() const { return std::size_t{c_.kv_heads} * c_.head_dim; }

  // Calls fn(row) for rows [first_row_, rows_), on several threads when there are many.
  template <class Fn>
  void each_row(Fn fn) {
    const auto all = [&](std::size_t begin, std::size_t end) {
      for (auto row = begin; row < end; ++row) fn(first_row_ + row);
    };
    const auto count = rows_ - first_row_;
    if (count < rows_worth_sharing) return all(0, count);
    kernels::parallel_for(pool_, count, rows_worth_sharing, all);
  }

  kernels::q8_block* blocks(std::size_t row, std::size_t width) {
    return ws_.blocks.data() + row * (width / kernels::block_values);
  }
  // The rows at hand of a buffer, and their quantised form where it has been made.
  kernels::activation_rows rows_of(const float* buffer, std::size_t width, bool q8) {
    return {
        buffer + first_row_ * width, q8 ? blocks(first_row_, width) : nullptr, rows_ - first_row_,
        width};
  }
  kernels::product into(
      std::vector<float>& buffer, const kernels::packed_matrix& m, bool accumulate = false) {
    return {buffer.data() + first_row_ * m.rows, m.rows, &m, accumulate};
  }

  // Where a product that ends half a layer goes: into the stream, or aside to be normed first.
  kernels::product onto_stream(const kernels::packed_matrix& m) {
    return c_.traits.post_norms ? into(ws_.normed, m) : into(ws_.x, m, true);
  }
  void join_stream(const std::vector<float>& post_norm);

  void embed(std::span<const token_id> tokens);
  void finish_heads(
      float* heads, std::size_t n, const std::vector<float>& bias, const std::vector<float>& norm,
      const float* turns);
  void attend(const llama_layer& layer, std::uint32_t index, wanted rows);
  void feed_forward(const llama_layer& layer);

  const llama::weights& w_;
  const llama_config& c_;
  kv_cache& cache_;
  kv_cache::workspace& ws_;
  kernels::thread_pool& pool_;
  std::size_t rows_ = 0;
  std::size_t first_row_ = 0;
  std::size_t position_ = 0;  // of row 0
};

void pass::embed(std::span<const token_id> tokens) {
  each_row([&](std::size_t row) {
    const auto id = tokens[row];
    base::check(id >= 0 && static_cast<std::uint32_t>(id) < c_.vocab, "a token of the vocabulary");
    float* x = ws_.x.data() + row * c_.dim;
    kernels::unpack_row(x, w_.embedding, static_cast<std::size_t>(id));
    if (const float scale = c_.traits.embedding_scale; scale != 1)
      for (std::size_t i = 0; i < c_.dim; ++i) x[i] *= scale;
    w_.rope.turns(ws_.turns.data() + row * c_.head_dim, position_ + row);
    w_.windowed_rope.turns(ws_.windowed_turns.data() + row * c_.head_dim, position_ + row);
  });
}

void pass::join_stream(const std::vector<float>& post_norm) {
  if (!c_.traits.post_norms) return;
  each_row([&](std::size_t row) {
    float* n = ws_.normed.data() + row * c_.dim;
    kernels::rms_norm(n, n, post_norm.data(), c_.dim, c_.rms_eps);
    kernels::add(ws_.x.data() + row * c_.dim, n, c_.dim);
  });
}

// Queries or keys of one row, from their product to what attention takes.
void pass::finish_heads(
    float* heads, std::size_t n, const std::vector<float>& bias, const std::vector<float>& norm,
    const float* turns) {
  const std::size_t dim = c_.head_dim;
  if (!bias.empty()) kernels::add(heads, bias.data(), bias.size());
  if (!norm.empty())
    for (float* head = heads; head < heads + n * dim; head += dim)
      kernels::rms_norm(head, head, norm.data(), dim, c_.rms_eps);
  kernels::rope(heads, turns, n, dim, c_.traits.pairs);
}

void pass::attend(const llama_layer& layer, std::uint32_t index, wanted rows) {
  const bool q8 = w_.wants_q8(layer.q) || w_.wants_q8(layer.k) || w_.wants_q8(layer.v);
  each_row([&](std::size_t row) {
    float* n = ws_.normed.data() + row * c_.dim;
    kernels::rms_norm(
        n, ws_.x.data() + row * c_.dim, layer.attention_norm.data(), c_.dim, c_.rms_eps);
    if (q8) kernels::quantise_q8(blocks(row, c_.dim), n, c_.dim);
  });
  const kernels::product qkv[] = {into(ws_.q, layer.q), into(ws_.k, layer.k), into(ws_.v, layer.v)};
  kernels::matmul(pool_, qkv, rows_of(ws_.normed.data(), c_.dim, q8));

  const auto view = cache_.layer(index);
  const bool windowed = c_.windowed(index);
  const auto& tables =
      windowed && c_.traits.windowed_rope_base != 0 ? ws_.windowed_turns : ws_.turns;
  each_row([&](std::size_t row) {
    const float* turns = tables.data() + row * c_.head_dim;
    float* q = ws_.q.data() + row * heads_width();
    float* k = ws_.k.data() + row * kv_width();
    float* v = ws_.v.data() + row * kv_width();
    finish_heads(q, c_.heads, layer.q_bias, layer.q_norm, turns);
    finish_heads(k, c_.kv_heads, layer.k_bias, layer.k_norm, turns);
    if (!layer.v_bias.empty()) kernels::add(v, layer.v_bias.data(), kv_width());
    kernels::kv_store(view, position_ + row, k, v);
  });
  if (index + 1 == c_.layers) {  // the rest of the last layer serves the logits alone
    if (rows == wanted::none) first_row_ = rows_;
    if (rows == wanted::last) first_row_ = rows_ - 1;
    if (first_row_ == rows_) return;
  }

  const auto width = heads_width();
  const kernels::attention_rows job{
      .out = ws_.attended.data() + first_row_ * width,
      .q = ws_.q.data() + first_row_ * width,
      .out_stride = width,
      .q_stride = width,
      .rows = rows_ - first_row_,
      .heads = c_.heads,
      .first = position_ + first_row_,
      .window = windowed ? c_.traits.window : 0};
  const auto scratch = kernels::attention_scratch(job, view);
  if (ws_.scratch.size() < scratch) ws_.scratch.resize(scratch);
  kernels::attention(pool_, job, view, ws_.scratch.data());

  const bool o_q8 = w_.wants_q8(layer.o);
  if (o_q8)
    each_row([&](std::size_t row) {
      kernels::quantise_q8(blocks(row, width), ws_.attended.data() + row * width, width);
    });
  const kernels::product o[] = {onto_stream(layer.o)};
  kernels::matmul(pool_, o, rows_of(ws_.attended.data(), width, o_q8));
  join_stream(layer.attention_post_norm);
}

void pass::feed_forward(const llama_layer& layer) {
  const bool q8 = w_.wants_q8(layer.gate) || w_.wants_q8(layer.up);
  each_row([&](std::size_t row) {
    float* n = ws_.normed.data() + row * c_.dim;
    kernels::rms_norm(n, ws_.x.data() + row * c_.dim, layer.ff_norm.data(), c_.dim, c_.rms_eps);
    if (q8) kernels::quantise_q8(blocks(row, c_.dim), n, c_.dim);
  });
  const kernels::product gate_up[] = {into(ws_.gate, layer.gate), into(ws_.up, layer.up)};
  kernels::matmul(pool_, gate_up, rows_of(ws_.normed.data(), c_.dim, q8));

  const bool down_q8 = w_.wants_q8(layer.down);
  each_row([&](std::size_t row) {
    float* gate = ws_.gate.data() + row * c_.ff;
    const auto activate = c_.traits.gate == gate_kind::gelu_tanh ? kernels::geglu : kernels::swiglu;
    activate(gate, gate, ws_.up.data() + row * c_.ff, c_.ff);
    if (down_q8) kernels::quantise_q8(blocks(row, c_.ff), gate, c_.ff);
  });
  const kernels::product down[] = {onto_stream(layer.down)};
  kernels::matmul(pool_, down, rows_of(ws_.gate.data(), c_.ff, down_q8));
  join_stream(layer.ff_post_norm);
}

void pass::run(std::span<const token_id> tokens, wanted rows) {
  rows_ = tokens.size();
  first_row_ = 0;
  position_ = cache_.size();
  cache_.grow(static_cast<std::uint32_t>(rows_));
  ws_.reserve(c_, rows_);
  embed(tokens);
  for (std::uint32_t i = 0; i < c_.layers; ++i) {
    attend(w_.layers[i], i, rows);
    if (first_row_ < rows_) feed_forward(w_.layers[i]);
  }
}

void pass::logits(float* out, std::size_t begin, std::size_t n) {
  first_row_ = begin;
  rows_ = begin + n;
  const bool q8 = w_.wants_q8(w_.output);
  each_row([&](std::size_t row) {
    float* normed = ws_.normed.data() + row * c_.dim;
    kernels::rms_norm(
        normed, ws_.x.data() + row * c_.dim, w_.output_norm.data(), c_.dim, c_.rms_eps);
    if (q8) kernels::quantise_q8(blocks(row, c_.dim), normed, c_.dim);
  });
  const kernels::product output[] = {{out, c_.vocab, &w_.output, false}};
  kernels::matmul(pool_, output, rows_of(ws_.normed.data(), c_.dim, q8));
  if (const float cap = c_.traits.logit_softcap; cap != 0)
    for (std::size_t i = 0; i < n * c_.vocab; ++i) out[i] = cap * std::tanh(out[i] / cap);
}

}  // namespace

void forward(
    const llama& model, kv_cache& cache, std::span<const token_id> tokens, std::span<float> logits,
    kernels::thread_pool& pool) {
  base::check(
      logits.empty() || logits.size() == model.config().vocab, "room for one row of logits");
  pass p(model, cache, pool);
  for (std::size_t done = 0; done < tokens.size();) {
    const auto piece =
        tokens.subspan(done, std::min<std::size_t>(forward_tokens_max, tokens.size() - done));
    done += piece.size();
    const bool last = done == tokens.size() && !logits.empty();
    p.run(piece, last ? wanted::last : wanted::none);
    if (last) p.logits(logits.data(), piece.size() - 1, 1);
  }
}

void forward_each(
    const llama& model, kv_cache& cache, std::span<const token_id> tokens,
    const std::function<void(std::uint32_t position, std::span<const float> logits)>& each,
    kernels::thread_pool& pool) {
  const std::size_t vocab = model.config().vocab;
  auto& buffer = cache.scratch().logits;
  pass p(model, cache, pool);
  for (std::size_t done = 0; done < tokens.size();) {
    const auto piece =
        tokens.subspan(done, std::min<std::size_t>(forward_tokens_max, tokens.size() - done));
    const auto start = cache.size();
    p.run(piece, wanted::all);
    for (std::size_t row = 0; row < piece.size(); row += logit_rows) {
      const auto n = std::min(logit_rows, piece.size() - row);
      buffer.resize(n * vocab);
      p.logits(buffer.data(), row, n);
      for (std::size_t i = 0; i < n; ++i)
        each(
            static_cast<std::uint32_t>(start + row + i),
            std::span<const float>(buffer).subspan(i * vocab, vocab));
    }
    done += piece.size();
  }
}

}  // namespace dlls::model

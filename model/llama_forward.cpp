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

namespace dlls::model {

// With fewer rows than this the calling thread is done before another one has woken up.
constexpr std::size_t rows_worth_sharing = 8;
// Rows whose logits forward_each holds at once.
constexpr std::size_t logit_rows = 16;

// One pass through the layers: the rows of all parts, one below the other. Weights meet all rows at
// once, attention looks at each sequence by itself. Behind the last layer's keys and values only
// the rows go on that are wanted.
class forward_pass {
 public:
  forward_pass(
      const llama& model, forward_scratch& scratch, std::span<const forward_part> parts,
      kernels::thread_pool& pool)
      : w_(model.parts()), c_(w_.config), s_(scratch), parts_(parts), pool_(pool) {}

  // Hands out the hidden states that are wanted. Gives how many rows are left: those whose logits
  // are wanted.
  std::size_t run();
  // Logits (n, vocab) of the rows [begin, begin + n) that are left.
  void logits(float* out, std::size_t begin, std::size_t n);

 private:
  std::size_t heads_width() const { return std::size_t{c_.heads} * c_.head_dim; }
  std::size_t kv_width() const { return std::size_t{c_.kv_heads} * c_.head_dim; }

  // Calls fn(row) for rows [begin, begin + n), on several threads when there are many.
  template <class Fn>
  void each_row(std::size_t begin, std::size_t n, Fn fn) {
    const auto all = [&](std::size_t first, std::size_t end) {
      for (auto row = first; row < end; ++row) fn(begin + row);
    };
    if (n < rows_worth_sharing) return all(0, n);
    kernels::parallel_for(pool_, n, rows_worth_sharing, all);
  }
  template <class Fn>
  void each_row(Fn fn) {
    each_row(0, rows_, fn);
  }

  kernels::q8_block* blocks(std::size_t row, std::size_t width) {
    return s_.blocks.data() + row * (width / kernels::block_values);
  }
  // The rows of a buffer, and their quantised form where it has been made.
  kernels::activation_rows rows_of(const std::vector<float>& buffer, std::size_t width, bool q8) {
    return {buffer.data(), q8 ? blocks(0, width) : nullptr, rows_, width};
  }
  static kernels::product into(
      std::vector<float>& buffer, const kernels::packed_matrix& m, bool accumulate = false) {
    return {buffer.data(), m.rows, &m, accumulate};
  }

  // Where a product that ends half a layer goes: into the stream, or aside to be normed first.
  kernels::product onto_stream(const kernels::packed_matrix& m) {
    return c_.traits.post_norms ? into(s_.normed, m) : into(s_.x, m, true);
  }
  void join_stream(const std::vector<float>& post_norm);

  void place_rows();
  void embed();
  void attend(const llama_layer& layer, std::uint32_t index);
  void finish_heads(
      float* heads, std::size_t n, const std::vector<float>& bias, const std::vector<float>& norm,
      const float* turns);
  void store_keys_and_values(const llama_layer& layer, std::uint32_t index);
  void keep_wanted_rows();
  void feed_forward(const llama_layer& layer);
  void final_norm(float* out, std::size_t row) {
    kernels::rms_norm(out, s_.x.data() + row * c_.dim, w_.output_norm.data(), c_.dim, c_.rms_eps);
  }
  void hand_out_hidden_rows();

  const llama::weights& w_;
  const llama_config& c_;
  forward_scratch& s_;
  std::span<const forward_part> parts_;
  kernels::thread_pool& pool_;
  std::size_t rows_ = 0;
};

void forward_pass::place_rows() {
  const auto width = heads_width();
  rows_ = 0;
  for (const auto& part : parts_) rows_ += part.tokens.size();
  base::check(rows_ <= forward_rows_max, "no more rows than a pass takes");
  s_.reserve(c_, rows_);
  s_.rows.clear();
  s_.sequences.clear();
  for (std::size_t i = 0; i < parts_.size(); ++i) {
    auto& cache = *parts_[i].cache;
    const auto first = s_.rows.size(), n = parts_[i].tokens.size();
    s_.sequences.push_back(
        {.out = s_.attended.data() + first * width,
         .q = s_.q.data() + first * width,
         .out_stride = width,
         .q_stride = width,
         .rows = n,
         .heads = c_.heads,
         .first = cache.size()});
    for (std::size_t j = 0; j < n; ++j) s_.rows.push_back({i, cache.size() + j});
    cache.grow(static_cast<std::uint32_t>(n));
  }
}

void forward_pass::embed() {
  each_row([&](std::size_t row) {
    const auto [part, position] = s_.rows[row];
    const auto id = parts_[part].tokens[position - s_.sequences[part].first];
    base::check(id >= 0 && static_cast<std::uint32_t>(id) < c_.vocab, "a token of the vocabulary");
    float* x = s_.x.data() + row * c_.dim;
    kernels::unpack_row(x, w_.embedding, static_cast<std::size_t>(id));
    if (const float scale = c_.traits.embedding_scale; scale != 1)
      for (std::size_t i = 0; i < c_.dim; ++i) x[i] *= scale;
    w_.rope.turns(s_.turns.data() + row * c_.head_dim, position);
    if (c_.traits.windowed_rope_base != 0)
      w_.windowed_rope.turns(s_.windowed_turns.data() + row * c_.head_dim, position);
  });
}

void forward_pass::join_stream(const std::vector<float>& post_norm) {
  if (!c_.traits.post_norms) return;
  each_row([&](std::size_t row) {
    float* n = s_.normed.data() + row * c_.dim;
    kernels::rms_norm(n, n, post_norm.data(), c_.dim, c_.rms_eps);
    kernels::add(s_.x.data() + row * c_.dim, n, c_.dim);
  });
}

// Queries or keys of one row, from their product to what attention takes.
void forward_pass::finish_heads(
    float* heads, std::size_t n, const std::vector<float>& bias, const std::vector<float>& norm,
    const float* turns) {
  const std::size_t dim = c_.head_dim;
  if (!bias.empty()) kernels::add(heads, bias.data(), bias.size());
  if (!norm.empty())
    for (float* head = heads; head < heads + n * dim; head += dim)
      kernels::rms_norm(head, head, norm.data(), dim, c_.rms_eps);
  kernels::rope(heads, turns, n, dim, c_.traits.pairs);
}

void forward_pass::store_keys_and_values(const llama_layer& layer, std::uint32_t index) {
  const bool windowed = c_.windowed(index);
  for (std::size_t i = 0; i < parts_.size(); ++i) {
    s_.sequences[i].cache = parts_[i].cache->layer(index);
    s_.sequences[i].window = windowed ? c_.traits.window : 0;
  }
  const bool own_turns = windowed && c_.traits.windowed_rope_base != 0;
  const auto& tables = own_turns ? s_.windowed_turns : s_.turns;
  each_row([&](std::size_t row) {
    const float* turns = tables.data() + row * c_.head_dim;
    float* q = s_.q.data() + row * heads_width();
    float* k = s_.k.data() + row * kv_width();
    float* v = s_.v.data() + row * kv_width();
    finish_heads(q, c_.heads, layer.q_bias, layer.q_norm, turns);
    finish_heads(k, c_.kv_heads, layer.k_bias, layer.k_norm, turns);
    if (!layer.v_bias.empty()) kernels::add(v, layer.v_bias.data(), kv_width());
    const auto [part, position] = s_.rows[row];
    kernels::kv_store(s_.sequences[part].cache, position, k, v);
  });
}

// Moves them together, in order.
void forward_pass::keep_wanted_rows() {
  const auto width = heads_width();
  std::size_t from = 0, kept = 0;
  for (std::size_t i = 0; i < parts_.size(); ++i) {
    auto& sequence = s_.sequences[i];
    const auto n = sequence.rows;
    const auto keep = parts_[i].rows_wanted();
    from += n;
    for (const auto& [buffer, columns] : {std::pair{&s_.x, std::size_t{c_.dim}}, {&s_.q, width}}) {
      float* const rows = buffer->data();
      std::copy(rows + (from - keep) * columns, rows + from * columns, rows + kept * columns);
    }
    sequence.out = s_.attended.data() + kept * width;
    sequence.q = s_.q.data() + kept * width;
    sequence.first += n - keep;
    sequence.rows = keep;
    kept += keep;
  }
  rows_ = kept;
}

void forward_pass::attend(const llama_layer& layer, std::uint32_t index) {
  const bool q8 = w_.wants_q8(layer.q) || w_.wants_q8(layer.k) || w_.wants_q8(layer.v);
  each_row([&](std::size_t row) {
    float* n = s_.normed.data() + row * c_.dim;
    kernels::rms_norm(
        n, s_.x.data() + row * c_.dim, layer.attention_norm.data(), c_.dim, c_.rms_eps);
    if (q8) kernels::quantise_q8(blocks(row, c_.dim), n, c_.dim);
  });
  const kernels::product qkv[] = {into(s_.q, layer.q), into(s_.k, layer.k), into(s_.v, layer.v)};
  kernels::matmul(pool_, qkv, rows_of(s_.normed, c_.dim, q8));
  store_keys_and_values(layer, index);
  if (index + 1 == c_.layers) keep_wanted_rows();
  if (rows_ == 0) return;

  const auto needed = kernels::attention_scratch(s_.sequences);
  if (s_.partials.size() < needed) s_.partials.resize(needed);
  kernels::attention(pool_, s_.sequences, s_.partials.data());

  const auto width = heads_width();
  const bool o_q8 = w_.wants_q8(layer.o);
  if (o_q8)
    each_row([&](std::size_t row) {
      kernels::quantise_q8(blocks(row, width), s_.attended.data() + row * width, width);
    });
  const kernels::product o[] = {onto_stream(layer.o)};
  kernels::matmul(pool_, o, rows_of(s_.attended, width, o_q8));
  join_stream(layer.attention_post_norm);
}

void forward_pass::feed_forward(const llama_layer& layer) {
  const bool q8 = w_.wants_q8(layer.gate) || w_.wants_q8(layer.up);
  each_row([&](std::size_t row) {
    float* n = s_.normed.data() + row * c_.dim;
    kernels::rms_norm(n, s_.x.data() + row * c_.dim, layer.ff_norm.data(), c_.dim, c_.rms_eps);
    if (q8) kernels::quantise_q8(blocks(row, c_.dim), n, c_.dim);
  });
  const kernels::product gate_up[] = {into(s_.gate, layer.gate), into(s_.up, layer.up)};
  kernels::matmul(pool_, gate_up, rows_of(s_.normed, c_.dim, q8));

  const bool down_q8 = w_.wants_q8(layer.down);
  const auto activate = c_.traits.gate == gate_kind::gelu_tanh ? kernels::geglu : kernels::swiglu;
  each_row([&](std::size_t row) {
    float* gate = s_.gate.data() + row * c_.ff;
    activate(gate, gate, s_.up.data() + row * c_.ff, c_.ff);
    if (down_q8) kernels::quantise_q8(blocks(row, c_.ff), gate, c_.ff);
  });
  const kernels::product down[] = {onto_stream(layer.down)};
  kernels::matmul(pool_, down, rows_of(s_.gate, c_.ff, down_q8));
  join_stream(layer.ff_post_norm);
}

// The other rows move together, in order.
void forward_pass::hand_out_hidden_rows() {
  const std::size_t dim = c_.dim;
  std::size_t from = 0, kept = 0;
  for (const auto& part : parts_) {
    const auto n = part.rows_wanted();
    if (part.hidden.empty()) {
      const float* const rows = s_.x.data() + from * dim;
      if (kept != from) std::copy(rows, rows + n * dim, s_.x.data() + kept * dim);
      kept += n;
    } else {
      base::check(part.hidden.size() == n * dim, "room for the hidden states that are wanted");
      each_row(from, n, [&](std::size_t row) {
        final_norm(part.hidden.data() + (row - from) * dim, row);
      });
    }
    from += n;
  }
  rows_ = kept;
}

std::size_t forward_pass::run() {
  place_rows();
  embed();
  for (std::uint32_t i = 0; i < c_.layers; ++i) {
    attend(w_.layers[i], i);
    if (rows_ > 0) feed_forward(w_.layers[i]);
  }
  hand_out_hidden_rows();
  return rows_;
}

void forward_pass::logits(float* out, std::size_t begin, std::size_t n) {
  const bool q8 = w_.wants_q8(w_.output);
  each_row(begin, n, [&](std::size_t row) {
    float* normed = s_.normed.data() + row * c_.dim;
    final_norm(normed, row);
    if (q8) kernels::quantise_q8(blocks(row, c_.dim), normed, c_.dim);
  });
  const kernels::product output[] = {{out, c_.vocab, &w_.output, false}};
  kernels::matmul(
      pool_, output,
      {s_.normed.data() + begin * c_.dim, q8 ? blocks(begin, c_.dim) : nullptr, n, c_.dim});
  if (const float cap = c_.traits.logit_softcap; cap != 0)
    for (std::size_t i = 0; i < n * c_.vocab; ++i) out[i] = cap * std::tanh(out[i] / cap);
}

void forward_scratch::reserve(const llama_config& c, std::size_t rows) {
  const auto at_least = [rows](auto& buffer, std::size_t width) {
    if (buffer.size() < rows * width) buffer.resize(rows * width);
  };
  const std::size_t heads = std::size_t{c.heads} * c.head_dim;
  const std::size_t kv = std::size_t{c.kv_heads} * c.head_dim;
  at_least(x, c.dim);
  at_least(normed, c.dim);
  at_least(q, heads);
  at_least(k, kv);
  at_least(v, kv);
  at_least(attended, heads);
  at_least(gate, c.ff);
  at_least(up, c.ff);
  at_least(turns, c.head_dim);
  if (c.traits.windowed_rope_base != 0) at_least(windowed_turns, c.head_dim);
  const auto widest = std::max<std::size_t>({c.dim, heads, c.ff});
  at_least(blocks, (widest + kernels::block_values - 1) / kernels::block_values);
}

void forward(
    const llama& model, forward_scratch& scratch, std::span<const forward_part> parts,
    std::span<float> logits, kernels::thread_pool& pool) {
  forward_pass pass(model, scratch, parts, pool);
  const auto rows = pass.run();
  base::check(logits.size() == rows * model.config().vocab, "room for the logits that are wanted");
  if (rows > 0) pass.logits(logits.data(), 0, rows);
}

void forward(
    const llama& model, kv_cache& cache, std::span<const token_id> tokens, std::span<float> logits,
    kernels::thread_pool& pool) {
  while (!tokens.empty()) {
    const auto n = std::min<std::size_t>(forward_rows_max, tokens.size());
    const bool last = n == tokens.size() && !logits.empty();
    const forward_part part[] = {
        {&cache, tokens.first(n), last ? rows_kept::last : rows_kept::none}};
    forward(model, cache.scratch(), part, last ? logits : std::span<float>{}, pool);
    tokens = tokens.subspan(n);
  }
}

void forward_each(
    const llama& model, kv_cache& cache, std::span<const token_id> tokens,
    const std::function<void(std::uint32_t position, std::span<const float> logits)>& each,
    kernels::thread_pool& pool) {
  const std::size_t vocab = model.config().vocab;
  std::vector<float> some(std::min(logit_rows, tokens.size()) * vocab);
  while (!tokens.empty()) {
    const auto n = std::min<std::size_t>(forward_rows_max, tokens.size());
    const auto start = cache.size();
    const forward_part part[] = {{&cache, tokens.first(n), rows_kept::all}};
    forward_pass pass(model, cache.scratch(), part, pool);
    pass.run();
    for (std::size_t row = 0; row < n; row += logit_rows) {
      const auto count = std::min(logit_rows, n - row);
      pass.logits(some.data(), row, count);
      for (std::size_t i = 0; i < count; ++i)
        each(
            static_cast<std::uint32_t>(start + row + i),
            std::span<const float>(some).subspan(i * vocab, vocab));
    }
    tokens = tokens.subspan(n);
  }
}

}  // namespace dlls::model

#include "model/llama.hpp"

#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <vector>

#include "kernels/parallel.hpp"
#include "model/gguf.hpp"
#include "model/gguf_writer.hpp"
#include "tests/support/plain_llama.hpp"
#include "tests/support/temp_folder.hpp"
#include "tests/support/tiny_model.hpp"

namespace dlls::model {
namespace {

std::shared_ptr<const gguf_file> tiny_file(const test::tiny_model_options& options) {
  const test::temp_folder folder;
  const auto path = folder.path() / "tiny.gguf";
  REQUIRE(test::write_tiny_model(path, options));
  const auto file = gguf_file::open(path);
  REQUIRE(file);
  return *file;
}

std::shared_ptr<const llama> tiny_llama(
    const test::tiny_model_options& options, activations how = activations::f32) {
  const auto made = llama::load(tiny_file(options), how);
  REQUIRE(made);
  return *made;
}

std::vector<token_id> some_tokens(std::size_t n, std::uint64_t seed = 3) {
  base::random_source random(seed);
  std::vector<token_id> made(n);
  for (auto& id : made) id = static_cast<token_id>(random.below(280));
  return made;
}

std::vector<float> logits_of(
    const llama& model, std::span<const token_id> tokens, kernels::thread_pool& pool) {
  kv_cache cache(model.config(), 128, model.kv_type());
  std::vector<float> logits(model.config().vocab);
  forward(model, cache, tokens, logits, pool);
  return logits;
}

std::vector<float> hidden_of(
    const llama& model, std::span<const token_id> tokens, kernels::thread_pool& pool) {
  kv_cache cache(model.config(), 128, model.kv_type());
  std::vector<float> hidden(tokens.size() * model.config().dim);
  const forward_part part[] = {{&cache, tokens, rows_kept::all, hidden}};
  forward(model, cache.scratch(), part, {}, pool);
  return hidden;
}

double worst_difference(const std::vector<float>& a, const std::vector<double>& b) {
  double worst = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double off = std::fabs(a[i] - b[i]);
    if (!(off <= worst)) worst = std::isnan(off) ? INFINITY : off;
  }
  return worst;
}

TEST_CASE("the forward pass is the architecture written down plainly in double") {
  const auto tokens = some_tokens(37);
  kernels::thread_pool pool(2);
  for (const auto type : tensor_types())
    for (const bool tied : {true, false}) {
      INFO("weights " << name(type) << ", tied " << tied);
      const bool wide = block_values(type) == 256;
      const test::tiny_model_options options{
          .seed = 5,
          .type = type,
          .dim = wide ? 256u : 64u,
          .layers = 3,
          .heads = 4,
          .kv_heads = 2,
          .ff = wide ? 512u : 96u,
          .tied = tied};
      const auto file = tiny_file(options);
      const auto model = llama::load(file, activations::f32);
      REQUIRE(model);
      CHECK((*model)->config().tied == tied);
      test::plain_llama plain(*file);
      CHECK(worst_difference(logits_of(**model, tokens, pool), plain.logits(tokens)) < 2e-4);
      const auto hidden = plain.hidden(tokens);
      const auto got = hidden_of(**model, tokens, pool);
      for (std::size_t i = 0; i < hidden.size(); ++i) {
        const auto row = got.begin() + static_cast<std::ptrdiff_t>(i * options.dim);
        CHECK(worst_difference({row, row + options.dim}, hidden[i]) < 2e-4);
      }
    }
}

TEST_CASE("quantised activations change the logits little") {
  const auto tokens = some_tokens(20);
  kernels::thread_pool pool(1);
  for (const auto type : tensor_types()) {
    if (block_values(type) == 1) continue;
    const auto dim = block_values(type) == 256 ? 256u : 64u;
    const test::tiny_model_options options{.type = type, .dim = dim, .heads = 4, .ff = 2 * dim};
    const auto exact = logits_of(*tiny_llama(options), tokens, pool);
    const auto fast = logits_of(*tiny_llama(options, activations::q8), tokens, pool);
    double size = 0, off = 0;
    for (std::size_t i = 0; i < exact.size(); ++i) {
      size += double{exact[i]} * exact[i];
      off += (double{fast[i]} - exact[i]) * (double{fast[i]} - exact[i]);
    }
    INFO(name(type));
    CHECK(std::sqrt(off / size) < 0.05);
    CHECK(fast != exact);  // it really was the other way
  }
}

TEST_CASE("tokens one by one, in pieces and all at once give the same logits") {
  const auto model = tiny_llama({.dim = 64, .heads = 4, .kv_heads = 2, .context = 512});
  const auto tokens = some_tokens(300);
  kernels::thread_pool pool(2);
  std::vector<std::vector<float>> all;
  for (const std::size_t piece : {300, 1, 7, 129}) {
    kv_cache cache(model->config(), 300, kernels::element::f32);
    std::vector<float> logits(model->config().vocab);
    for (std::size_t at = 0; at < tokens.size(); at += piece) {
      const auto part = std::span(tokens).subspan(at, std::min(piece, tokens.size() - at));
      forward(
          *model, cache, part, at + piece >= tokens.size() ? std::span(logits) : std::span<float>{},
          pool);
    }
    CHECK(cache.size() == 300);
    all.push_back(logits);
  }
  for (std::size_t i = 1; i < all.size(); ++i) CHECK(all[i] == all[0]);
}

// What the part's tokens give in a cache of their own: its wanted rows' logits, or hidden states.
std::vector<float> computed_alone(
    const llama& model, kv_cache& cache, const forward_part& part, kernels::thread_pool& pool) {
  std::vector<float> made(part.hidden.size());
  if (!part.hidden.empty()) {
    const forward_part alone[] = {{&cache, part.tokens, part.wanted, made}};
    forward(model, cache.scratch(), alone, {}, pool);
    return made;
  }
  const auto end = cache.size() + part.tokens.size();
  forward_each(
      model, cache, part.tokens,
      [&](std::uint32_t position, std::span<const float> row) {
        if (part.wanted == rows_kept::all ||
            (part.wanted == rows_kept::last && position + 1 == end))
          made.insert(made.end(), row.begin(), row.end());
      },
      pool);
  return made;
}

// What comes out for a sequence is the same, to the bit, whether it is computed alone or among
// others: continuous batching, chunked prefill and preemption rest on it.
TEST_CASE("a pass over many sequences gives each what it would get alone") {
  const auto seed = std::random_device{}();
  INFO("seed " << seed);
  base::random_source random(seed);
  struct sequence {
    std::vector<token_id> tokens;
    std::unique_ptr<kv_cache> alone, among;
    std::size_t done = 0;
    std::vector<float> hidden;  // of a part that asks for hidden states
  };
  kernels::thread_pool pool(2);
  for (const auto type :
       {tensor_type::f32, tensor_type::f16, tensor_type::q8_0, tensor_type::q4_1,
        tensor_type::q6_k}) {
    INFO(name(type));
    const auto dim = type == tensor_type::q6_k ? 256u : 64u;
    const auto model = tiny_llama(
        {.type = type, .dim = dim, .heads = 4, .kv_heads = 2, .ff = dim, .context = 1024},
        activations::q8);
    const std::size_t vocab = model->config().vocab;
    const auto shared = std::make_shared<kv_pool>(model->config(), 80, model->kv_type());
    std::vector<sequence> all(6);
    for (auto& s : all) {
      s.tokens = some_tokens(1 + random.below(600), random());
      s.alone = std::make_unique<kv_cache>(model->config(), 600, model->kv_type());
      s.among = std::make_unique<kv_cache>(shared);
    }
    forward_scratch scratch;
    for (;;) {
      // Some of the sequences, each with some of its tokens.
      std::vector<forward_part> parts;
      std::vector<sequence*> in;
      std::size_t rows = 0, wanted = 0;
      for (auto& s : all) {
        const auto left = std::min(s.tokens.size() - s.done, forward_rows_max - rows);
        if (left == 0 || random.below(3) == 0) continue;
        const auto n = random.below(2) ? 1 + random.below(left) : 1;
        const auto how = static_cast<rows_kept>(random.below(3));
        REQUIRE(s.among->reserve(static_cast<std::uint32_t>(s.done + n)));
        auto& part = parts.emplace_back(
            forward_part{s.among.get(), std::span(s.tokens).subspan(s.done, n), how});
        s.hidden.resize(random.below(2) ? part.rows_wanted() * dim : 0);
        part.hidden = s.hidden;
        in.push_back(&s);
        rows += n;
        wanted += part.logit_rows();
      }
      if (std::ranges::all_of(all, [](auto& s) { return s.done == s.tokens.size(); })) break;
      if (parts.empty()) continue;
      std::vector<float> logits(wanted * vocab);
      forward(*model, scratch, parts, logits, pool);
      std::size_t at = 0;
      for (std::size_t i = 0; i < parts.size(); ++i) {
        auto& s = *in[i];
        const auto expected = computed_alone(*model, *s.alone, parts[i], pool);
        const auto got =
            s.hidden.empty() ? std::span(logits).subspan(at, expected.size()) : s.hidden;
        CHECK(std::ranges::equal(got, expected));
        at += parts[i].logit_rows() * vocab;
        s.done += parts[i].tokens.size();
        REQUIRE(s.among->size() == s.done);
      }
      CHECK(at == logits.size());
    }
  }
}

TEST_CASE("a truncated cache continues as if the rest had never been") {
  const auto model = tiny_llama({});
  kernels::thread_pool pool(1);
  const auto tokens = some_tokens(24), other = some_tokens(9, 77);
  kv_cache cache(model->config(), 64, kernels::element::f32);
  std::vector<float> logits(model->config().vocab), fresh(logits.size());
  forward(*model, cache, tokens, {}, pool);
  cache.truncate(5);
  CHECK(cache.size() == 5);
  forward(*model, cache, other, logits, pool);
  kv_cache clean(model->config(), 64, kernels::element::f32);
  forward(*model, clean, std::span(tokens).first(5), {}, pool);
  forward(*model, clean, other, fresh, pool);
  CHECK(logits == fresh);
}

TEST_CASE("every token's logits are handed out in order, and equal the last one's") {
  const auto model = tiny_llama({.context = 512});
  kernels::thread_pool pool(2);
  const auto tokens = some_tokens(150);
  kv_cache cache(model->config(), 150, kernels::element::f32);
  std::uint32_t next = 0;
  std::vector<float> at_40, last;
  forward_each(
      *model, cache, tokens,
      [&](std::uint32_t position, std::span<const float> logits) {
        CHECK(position == next++);
        if (position == 40) at_40.assign(logits.begin(), logits.end());
        last.assign(logits.begin(), logits.end());
      },
      pool);
  CHECK(next == 150);
  const auto until_40 = logits_of(*model, std::span(tokens).first(41), pool);
  CHECK(worst_difference(until_40, {at_40.begin(), at_40.end()}) < 1e-5);
  kv_cache again(model->config(), 150, kernels::element::f32);
  std::vector<float> whole(model->config().vocab);
  forward(*model, again, tokens, whole, pool);
  CHECK(worst_difference(whole, {last.begin(), last.end()}) < 1e-5);
}

TEST_CASE("logits do not depend on the number of threads") {
  const auto model =
      tiny_llama({.type = tensor_type::q4_1, .dim = 64, .heads = 4}, activations::q8);
  const auto tokens = some_tokens(60);
  kernels::thread_pool one(1), three(3);
  CHECK(logits_of(*model, tokens, one) == logits_of(*model, tokens, three));
}

TEST_CASE("a cache in half precision is half the size and nearly as exact") {
  const auto model = tiny_llama({});
  kernels::thread_pool pool(1);
  const auto tokens = some_tokens(50);
  using kernels::element;
  kv_cache half(model->config(), 64), whole(model->config(), 64, element::f32);
  CHECK(
      2 * kv_pool::page_bytes(model->config(), element::f16) ==
      kv_pool::page_bytes(model->config(), element::f32));
  std::vector<float> a(model->config().vocab), b(a.size());
  forward(*model, half, tokens, a, pool);
  forward(*model, whole, tokens, b, pool);
  CHECK(worst_difference(a, {b.begin(), b.end()}) < 0.02);
  CHECK(a != b);
}

// --- files that lie -------------------------------------------------------------------------

// A tiny model's metadata with changes, and tensors of which one may be left out or reshaped.
struct lie {
  std::string leave_out;
  std::string reshape;  // this tensor gets one row more
  std::string key;      // this number...
  std::uint32_t value = 0;
  std::string architecture = "llama";
};

base::result<std::shared_ptr<const llama>> load_with(const lie& l) {
  const test::temp_folder folder;
  test::tiny_model_options options;
  gguf_writer out;
  test::set_tiny_metadata(out, options);
  out.set_string("general.architecture", l.architecture);
  if (!l.key.empty()) out.set_u32(l.key, l.value);
  const auto honest = tiny_file(options);
  for (const auto& t : honest->tensors()) {
    if (t.name == l.leave_out) continue;
    auto shape = t.shape;
    if (t.name == l.reshape) ++shape.back();
    std::vector<std::byte> data(t.data.begin(), t.data.end());
    std::size_t elements = 1;
    for (const auto n : shape) elements *= n;
    data.resize(elements * 4);
    out.add_tensor(t.name, t.type, shape, [data](std::span<std::byte> into) -> base::result<> {
      std::memcpy(into.data(), data.data(), into.size());
      return {};
    });
  }
  const auto path = folder.path() / "lie.gguf";
  const auto written = out.write(path);
  REQUIRE(written);
  const auto file = gguf_file::open(path);
  REQUIRE(file);
  return llama::load(*file, activations::q8);
}

TEST_CASE("a model file that contradicts itself is refused by name, never computed with") {
  REQUIRE(load_with({}));  // unchanged, it loads
  const auto corrupt = base::errc::corrupt, unsupported = base::errc::unsupported;
  const std::vector<std::tuple<lie, base::errc, std::string>> lies = {
      {{.leave_out = "blk.1.ffn_up.weight"}, corrupt, "blk.1.ffn_up.weight"},
      {{.leave_out = "output_norm.weight"}, corrupt, "output_norm.weight"},
      {{.leave_out = "token_embd.weight"}, corrupt, "token_embd"},
      {{.reshape = "blk.0.attn_q.weight"}, corrupt, "blk.0.attn_q.weight"},
      {{.reshape = "blk.0.attn_norm.weight"}, corrupt, "blk.0.attn_norm.weight"},
      {{.key = "llama.block_count", .value = 3}, corrupt, "blk.2"},
      {{.key = "llama.block_count", .value = 4'000'000'000}, corrupt, "llama.block_count"},
      {{.key = "llama.embedding_length", .value = 64}, unsupported, "rotary"},
      {{.key = "llama.embedding_length", .value = 0}, corrupt, "llama.embedding_length"},
      {{.key = "llama.feed_forward_length", .value = 32}, corrupt, "ffn_gate"},
      {{.key = "llama.attention.head_count", .value = 0}, corrupt, "head_count"},
      {{.key = "llama.attention.head_count", .value = 1024}, corrupt, "key_length"},
      {{.key = "llama.attention.head_count_kv", .value = 3}, corrupt, "heads"},
      {{.key = "llama.attention.key_length", .value = 15}, corrupt, "odd"},
      {{.key = "llama.context_length", .value = 0}, corrupt, "context_length"},
      {{.key = "llama.rope.dimension_count", .value = 8}, unsupported, "rotary"},
      {{.key = "llama.expert_count", .value = 8}, unsupported, "experts"},
      {{.architecture = "mamba"}, unsupported, "mamba"}};
  for (const auto& [l, code, word] : lies) {
    const auto got = load_with(l);
    INFO("expected a word on " << word << ", got " << (got ? "a model" : got.error().text()));
    REQUIRE_FALSE(got);
    CHECK(got.error().code == code);
    CHECK(got.error().message.find(word) != std::string::npos);
  }
}

}  // namespace
}  // namespace dlls::model

// Loading: every tensor is found, checked against the configuration, and packed.
#include "model/llama.hpp"

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <new>
#include <string>
#include <unordered_set>
#include <vector>

#include "base/check.hpp"
#include "model/gguf.hpp"
#include "model/llama_weights.hpp"

namespace dlls::model {
namespace {

using kernels::element;
using kernels::packed_matrix;

constexpr std::size_t alignment = 64;
// Of a file's bytes: what is packed in one go, a few milliseconds, and what a thread takes of it.
constexpr std::size_t pack_region_bytes = 8 << 20, pack_grain_bytes = 128 << 10;

std::string shape_text(const std::vector<std::uint64_t>& shape) {
  return fmt::format("({})", fmt::join(shape, ", "));
}

// These pages of the mapped file will hardly be read again; without this the model would stand in
// memory twice. Whoever reads them after all gets them from the file.
void let_go(std::span<const std::byte> mapped) {
  const auto page = static_cast<std::uintptr_t>(sysconf(_SC_PAGESIZE));
  const auto start = reinterpret_cast<std::uintptr_t>(mapped.data());
  const auto begin = (start + page - 1) / page * page, end = (start + mapped.size()) / page * page;
  if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

// Finds and checks; the first failure is kept and everything after it does nothing.
class loader {
 public:
  explicit loader(const gguf_file& file) : file_(file) {}

  void matrix(
      packed_matrix& into, const std::string& name, std::uint64_t rows, std::uint64_t columns) {
    const auto* t = tensor(name, {columns, rows});
    if (t == nullptr) return;
    const auto type = element_of(t->type);
    const packed_matrix shape{type, rows, columns, nullptr};
    places_.push_back({&into, t, shape, bytes_});
    bytes_ += (shape.bytes() + alignment - 1) / alignment * alignment;
  }

  void vector(std::vector<float>& into, const std::string& name, std::uint64_t n) {
    const auto* t = tensor(name, {n});
    if (t == nullptr) return;
    if (kernels::is_quantised(element_of(t->type)))
      return fail(base::errc::unsupported, name + " is quantised");
    into.resize(n);
    kernels::dequantise(into.data(), element_of(t->type), t->data.data(), n);
  }

  // Only where the architecture has it.
  void vector_if(bool wanted, std::vector<float>& into, const std::string& name, std::uint64_t n) {
    if (wanted) vector(into, name, n);
  }

  // A layer's tensor that nothing has asked for would be left out of the arithmetic in silence.
  void refuse_unused() {
    for (const auto& t : file_.tensors())
      if (t.name.starts_with("blk.") && !used_.contains(&t))
        return fail(
            base::errc::unsupported, fmt::format("{} has no place in this architecture", t.name));
  }

  void fail(base::errc code, std::string message) {
    if (error_.code == base::errc::ok) error_ = {code, std::move(message)};
  }
  const base::error& why() const { return error_; }

  // Packs everything that matrix() found. Throws std::bad_alloc.
  kernels::huge_buffer pack(kernels::thread_pool& pool) {
    kernels::huge_buffer memory(bytes_);
    for (const auto& p : places_) {
      *p.into = p.shape;
      p.into->data = memory.data() + p.offset;
      pack(pool, memory.data() + p.offset, p.shape, p.from->data);
    }
    return memory;
  }

 private:
  struct place {
    packed_matrix* into;
    const tensor_info* from;
    packed_matrix shape;
    std::size_t offset;
  };

  // A region at a time: between two of them whoever else computes with these threads has a turn.
  static void pack(
      kernels::thread_pool& pool, std::byte* out, const packed_matrix& shape,
      std::span<const std::byte> from) {
    const auto panels = shape.panels();
    const auto panel_bytes = from.size() / std::max<std::size_t>(1, panels) + 1;  // of the file
    const auto together = std::max<std::size_t>(1, pack_region_bytes / panel_bytes);
    const auto grain = std::max<std::size_t>(1, pack_grain_bytes / panel_bytes);
    for (std::size_t first = 0; first < panels; first += together) {
      const auto count = std::min(together, panels - first);
      kernels::parallel_for(pool, count, grain, [&](std::size_t begin, std::size_t end) {
        kernels::pack_panels(out, shape, first + begin, first + end, from.data());
      });
    }
    let_go(from);
  }

  const tensor_info* tensor(const std::string& name, const std::vector<std::uint64_t>& shape) {
    if (error_.code != base::errc::ok) return nullptr;
    const auto* t = file_.find(name);
    if (t == nullptr) return fail(base::errc::corrupt, "the model file lacks " + name), nullptr;
    if (t->shape != shape) {
      fail(
          base::errc::corrupt, fmt::format(
                                   "{} has shape {}, its metadata asks for {}", name,
                                   shape_text(t->shape), shape_text(shape)));
      return nullptr;
    }
    used_.insert(t);
    return t;
  }

  const gguf_file& file_;
  base::error error_{base::errc::ok, {}};
  std::vector<place> places_;
  std::unordered_set<const tensor_info*> used_;
  std::size_t bytes_ = 0;
};

void find_layer(loader& load, llama_layer& layer, std::uint32_t index, const llama_config& c) {
  const auto name = [&](const char* part) { return fmt::format("blk.{}.{}.weight", index, part); };
  const std::uint64_t q_rows = std::uint64_t{c.heads} * c.head_dim;
  const std::uint64_t kv_rows = std::uint64_t{c.kv_heads} * c.head_dim;
  load.vector(layer.attention_norm, name("attn_norm"), c.dim);
  load.matrix(layer.q, name("attn_q"), q_rows, c.dim);
  load.matrix(layer.k, name("attn_k"), kv_rows, c.dim);
  load.matrix(layer.v, name("attn_v"), kv_rows, c.dim);
  load.matrix(layer.o, name("attn_output"), c.dim, q_rows);
  load.vector(layer.ff_norm, name("ffn_norm"), c.dim);
  load.matrix(layer.gate, name("ffn_gate"), c.ff, c.dim);
  load.matrix(layer.up, name("ffn_up"), c.ff, c.dim);
  load.matrix(layer.down, name("ffn_down"), c.dim, c.ff);
}

void find_traits(loader& load, llama_layer& layer, std::uint32_t index, const llama_config& c) {
  const auto& has = c.traits;
  const auto name = [&](const char* part, const char* kind = "weight") {
    return fmt::format("blk.{}.{}.{}", index, part, kind);
  };
  const std::uint64_t kv_rows = std::uint64_t{c.kv_heads} * c.head_dim;
  load.vector_if(
      has.qkv_bias, layer.q_bias, name("attn_q", "bias"), std::uint64_t{c.heads} * c.head_dim);
  load.vector_if(has.qkv_bias, layer.k_bias, name("attn_k", "bias"), kv_rows);
  load.vector_if(has.qkv_bias, layer.v_bias, name("attn_v", "bias"), kv_rows);
  load.vector_if(has.qk_norm, layer.q_norm, name("attn_q_norm"), c.head_dim);
  load.vector_if(has.qk_norm, layer.k_norm, name("attn_k_norm"), c.head_dim);
  load.vector_if(has.post_norms, layer.attention_post_norm, name("post_attention_norm"), c.dim);
  load.vector_if(has.post_norms, layer.ff_post_norm, name("post_ffw_norm"), c.dim);
  if (has.attention_scale != 0)  // the kernel divides by sqrt(head_dim)
    for (auto& x : layer.q_norm)
      x *= has.attention_scale * std::sqrt(static_cast<float>(c.head_dim));
}

void find_rope(loader& load, const gguf_file& file, llama::weights& w) {
  const auto& c = w.config;
  std::vector<float> factors;
  if (file.find("rope_freqs.weight") != nullptr)
    load.vector(factors, "rope_freqs.weight", c.head_dim / 2);
  for (const auto f : factors)
    if (!(f > 0))
      return load.fail(
          base::errc::corrupt, "rope_freqs.weight holds a factor that is not positive");
  w.rope = make_rope(c.head_dim, c.rope_base, c.traits.scaling, factors);
  if (c.traits.windowed_rope_base != 0)
    w.windowed_rope = make_rope(c.head_dim, c.traits.windowed_rope_base, {});
}

}  // namespace

base::result<std::shared_ptr<const llama>> llama::load(
    std::shared_ptr<const gguf_file> file, activations how) {
  kernels::thread_pool alone(1);
  return load(std::move(file), how, alone);
}

base::result<std::shared_ptr<const llama>> llama::load(
    std::shared_ptr<const gguf_file> file, activations how, kernels::thread_pool& pool) {
  const auto config = read_llama_config(*file);
  if (!config) return config.error();
  try {
    auto w = std::make_unique<weights>();
    w->config = *config;
    w->how = how;
    w->layers.resize(config->layers);
    loader load(*file);
    load.matrix(w->embedding, "token_embd.weight", config->vocab, config->dim);
    for (std::uint32_t i = 0; i < config->layers; ++i) {
      find_layer(load, w->layers[i], i, *config);
      find_traits(load, w->layers[i], i, *config);
    }
    load.vector(w->output_norm, "output_norm.weight", config->dim);
    if (!config->tied) load.matrix(w->output, "output.weight", config->vocab, config->dim);
    find_rope(load, *file, *w);
    load.refuse_unused();
    if (load.why().code != base::errc::ok) return load.why();
    w->memory = load.pack(pool);
    if (auto ok = file->intact(); !ok) return ok.error();
    if (config->tied) w->output = w->embedding;
    return std::shared_ptr<const llama>(new llama(std::move(w)));
  } catch (const std::bad_alloc&) {
    return base::error{
        base::errc::resource_exhausted,
        fmt::format("not enough memory for a model of {} MiB", file->bytes() >> 20)};
  }
}

llama::llama(std::unique_ptr<weights> w) noexcept : weights_(std::move(w)) {}
llama::~llama() = default;

const llama_config& llama::config() const noexcept { return weights_->config; }
activations llama::how() const noexcept { return weights_->how; }
std::uint64_t llama::bytes() const noexcept { return weights_->memory.bytes(); }
element llama::kv_type() const noexcept {
  return weights_->how == activations::f32 ? element::f32 : element::f16;
}
base::result<element> llama::kv_type(std::optional<element> wanted) const {
  const auto type = wanted.value_or(kv_type());
  if (kv_pool::can_hold(config(), type)) return type;
  if (type != element::q8_0)
    return base::error{
        base::errc::unsupported, "a key-value cache of this type", "take f16, f32 or q8_0"};
  return base::error{
      base::errc::unsupported,
      fmt::format(
          "a key-value cache of q8_0 takes heads of whole blocks of {} numbers, this model's have "
          "{}",
          kernels::block_values, config().head_dim),
      "take f16"};
}

}  // namespace dlls::model

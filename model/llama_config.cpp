#include "model/llama_config.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <string>

#include "model/gguf.hpp"

namespace dlls::model {
namespace {

// A number of the metadata with the range it may lie in; the first failure is kept.
class reader {
 public:
  explicit reader(const gguf_file& file) : file_(file) {}

  std::uint32_t count(const std::string& key, std::uint32_t least, std::uint32_t most) {
    return checked(key, file_.get_u32(key), least, most);
  }
  std::uint32_t count_or(
      const std::string& key, std::uint32_t absent, std::uint32_t least, std::uint32_t most) {
    return checked(key, file_.get_u32(key, absent), least, most);
  }
  float real(const std::string& key, base::result<float> value, float least, float most) {
    if (!value) return fail(value.error()), 0.0f;
    if (!(*value >= least && *value <= most))  // NaN fails too
      fail(
          {base::errc::corrupt,
           fmt::format("{} is {}, expected {} to {}", key, *value, least, most)});
    return *value;
  }
  void demand(bool condition, base::errc code, std::string message) {
    if (!condition) fail({code, std::move(message)});
  }
  void fail(base::error e) {
    if (ok()) error_ = std::move(e);
  }
  bool ok() const { return error_.code == base::errc::ok; }
  const base::error& why() const { return error_; }

 private:
  std::uint32_t checked(
      const std::string& key, const base::result<std::uint32_t>& value, std::uint32_t least,
      std::uint32_t most) {
    if (!value) {
      fail(
          value.error().code == base::errc::not_found
              ? base::error{base::errc::corrupt, "the model file lacks " + key}
              : value.error());
      return least;
    }
    if (*value < least || *value > most)
      fail(
          {base::errc::corrupt,
           fmt::format("{} is {}, expected {} to {}", key, *value, least, most)});
    return *value;
  }

  const gguf_file& file_;
  base::error error_{base::errc::ok, {}};
};

void check_rope_scaling(reader& read, const gguf_file& file) {
  const auto kind = file.get_string("llama.rope.scaling.type", "none");
  if (!kind) return read.fail(kind.error());
  read.demand(
      *kind == "none", base::errc::unsupported,
      fmt::format("rotary scaling '{}' is not supported", *kind));
}

}  // namespace

base::result<llama_config> read_llama_config(const gguf_file& file) {
  const auto architecture = file.get_string("general.architecture");
  if (!architecture) return architecture.error();
  if (*architecture != "llama")
    return base::error{
        base::errc::unsupported, fmt::format("architecture '{}' is not supported", *architecture),
        "use a model of the LLaMA family"};
  const auto* embedding = file.find("token_embd.weight");
  if (embedding == nullptr || embedding->shape.size() != 2)
    return base::error{base::errc::corrupt, "the model file lacks a two-dimensional token_embd"};

  reader read(file);
  llama_config c;
  c.dim = read.count("llama.embedding_length", 1, 1u << 16);
  c.layers = read.count("llama.block_count", 1, 1024);
  c.ff = read.count("llama.feed_forward_length", 1, 1u << 20);
  c.heads = read.count("llama.attention.head_count", 1, 1024);
  c.kv_heads = read.count_or("llama.attention.head_count_kv", c.heads, 1, 1024);
  c.context = read.count("llama.context_length", 1, 1u << 24);
  c.head_dim = read.count_or("llama.attention.key_length", c.dim / std::max(1u, c.heads), 2, 256);
  const auto value_dim = read.count_or("llama.attention.value_length", c.head_dim, 2, 256);
  const auto turned = read.count_or("llama.rope.dimension_count", c.head_dim, 2, 256);
  const auto experts = read.count_or("llama.expert_count", 0, 0, 1u << 16);
  const std::string eps = "llama.attention.layer_norm_rms_epsilon", base = "llama.rope.freq_base";
  c.rms_eps = read.real(eps, file.get_f32(eps), 1e-12f, 0.1f);
  c.rope_base = read.real(base, file.get_f32(base, 10000.0f), 1.0f, 1e12f);
  check_rope_scaling(read, file);
  read.demand(
      embedding->shape[1] >= 1 && embedding->shape[1] <= 1u << 22, base::errc::corrupt,
      fmt::format("a vocabulary of {} tokens", embedding->shape[1]));
  read.demand(
      c.heads % c.kv_heads == 0, base::errc::corrupt,
      fmt::format("{} heads cannot share {} key-value heads", c.heads, c.kv_heads));
  read.demand(
      c.head_dim % 2 == 0, base::errc::corrupt, fmt::format("an odd head size, {}", c.head_dim));
  read.demand(
      value_dim == c.head_dim && turned == c.head_dim, base::errc::unsupported,
      "keys, values and rotary embedding of different sizes are not supported");
  read.demand(experts == 0, base::errc::unsupported, "mixtures of experts are not supported");
  if (!read.ok()) return read.why();
  c.vocab = static_cast<std::uint32_t>(embedding->shape[1]);
  c.tied = file.find("output.weight") == nullptr;
  return c;
}

}  // namespace dlls::model

#include "model/llama_config.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <string>

#include "model/architectures/architecture.hpp"
#include "model/gguf.hpp"

namespace dlls::model {
namespace {

constexpr std::uint32_t context_max = 1u << 24;

void read_shape(config_reader& read, llama_config& c) {
  c.dim = read.count("embedding_length", 1, 1u << 16);
  c.layers = read.count("block_count", 1, 1024);
  c.ff = read.count("feed_forward_length", 1, 1u << 20);
  c.heads = read.count("attention.head_count", 1, 1024);
  c.kv_heads = read.count_or("attention.head_count_kv", c.heads, 1, 1024);
  c.context = read.count("context_length", 1, context_max);
  c.head_dim = read.count_or("attention.key_length", c.dim / std::max(1u, c.heads), 2, 256);
  const auto value_dim = read.count_or("attention.value_length", c.head_dim, 2, 256);
  const auto turned = read.count_or("rope.dimension_count", c.head_dim, 2, 256);
  const auto experts = read.count_or("expert_count", 0, 0, 1u << 16);
  c.rms_eps = read.real("attention.layer_norm_rms_epsilon", 1e-12f, 0.1f);
  c.rope_base = read.real_or("rope.freq_base", 10000.0f, 1.0f, 1e12f);
  if (!read.ok()) return;  // below, no number is 0
  read.demand(
      c.heads % c.kv_heads == 0, base::errc::corrupt,
      fmt::format("{} heads cannot share {} key-value heads", c.heads, c.kv_heads));
  read.demand(
      c.head_dim % 2 == 0, base::errc::corrupt, fmt::format("an odd head size, {}", c.head_dim));
  read.demand(
      value_dim == c.head_dim && turned == c.head_dim, base::errc::unsupported,
      "keys, values and rotary embedding of different sizes are not supported");
  read.demand(experts == 0, base::errc::unsupported, "mixtures of experts are not supported");
}

// Files of before 2023-09 have a factor of their own key and no type; a factor without a type is
// linear.
rope_scaling read_scaling(config_reader& read, std::uint32_t context) {
  constexpr float factor_max = 4096;
  rope_scaling s;
  const auto kind = read.text_or("rope.scaling.type", "linear");
  const auto older = read.real_or("rope.scale_linear", 1.0f, 0.0f, factor_max);
  s.factor = read.real_or("rope.scaling.factor", older, 0.0f, factor_max);
  if (s.factor == 0) s.factor = 1;  // as the converter writes "none"
  if (kind == "linear") {
    if (s.factor != 1) s.kind = rope_kind::linear;
  } else if (kind == "llama3") {
    s.kind = rope_kind::llama3;
    s.trained = read.count("rope.scaling.original_context_length", 1, context_max);
    s.low_factor = read.real_or("rope.scaling.low_freq_factor", 1.0f, 1e-3f, 1e3f);
    s.high_factor = read.real_or("rope.scaling.high_freq_factor", 4.0f, 1e-3f, 1e3f);
    read.demand(
        s.low_factor < s.high_factor, base::errc::corrupt,
        read.full("rope.scaling.low_freq_factor") + " is not below its high_freq_factor");
  } else if (kind == "yarn") {
    s.kind = rope_kind::yarn;
    s.trained = read.count_or("rope.scaling.original_context_length", context, 1, context_max);
    s.fast_turns = read.real_or("rope.scaling.yarn_beta_fast", 32.0f, 1e-3f, 1e6f);
    s.slow_turns = read.real_or("rope.scaling.yarn_beta_slow", 1.0f, 1e-3f, 1e6f);
    s.attention_factor = read.real_or("rope.scaling.attn_factor", 1.0f, 1e-3f, 1e3f);
    read.demand(
        s.factor >= 1, base::errc::corrupt, read.full("rope.scaling.factor") + " is below 1");
    read.demand(
        read.real_or("rope.scaling.yarn_log_multiplier", 0.0f, -1e3f, 1e3f) == 0,
        base::errc::unsupported,
        read.full("rope.scaling.yarn_log_multiplier") + " is not supported");
  } else if (kind != "none") {
    read.fail(
        {base::errc::unsupported,
         fmt::format(
             "{}: rotary scaling '{}' is not supported", read.full("rope.scaling.type"), kind),
         "none, linear, llama3 and yarn are"});
  }
  return s;
}

// The numbers are llama.cpp's: none, mean, cls, last, rank. Of a file that says none we take the
// mean.
std::optional<pooling> read_pooling(config_reader& read) {
  switch (read.count_or("pooling_type", 0, 0, 4)) {
    case 0:
    case 1:
      return pooling::mean;
    case 3:
      return pooling::last;
    default:
      return std::nullopt;
  }
}

}  // namespace

base::result<llama_config> read_llama_config(const gguf_file& file) {
  const auto name = file.get_string("general.architecture");
  if (!name) return name.error();
  const auto* architecture = find_architecture(*name);
  if (architecture == nullptr)
    return base::error{
        base::errc::unsupported, fmt::format("general.architecture: '{}' is not supported", *name),
        "these are: " + architecture_names()};
  const auto* embedding = file.find("token_embd.weight");
  if (embedding == nullptr || embedding->shape.size() != 2)
    return base::error{base::errc::corrupt, "the model file lacks a two-dimensional token_embd"};

  config_reader read(file, architecture->name);
  llama_config c;
  read_shape(read, c);
  c.traits.scaling = read_scaling(read, c.context);
  c.pooled = read_pooling(read);
  architecture->describe(read, c);
  read.demand(
      embedding->shape[1] >= 1 && embedding->shape[1] <= 1u << 22, base::errc::corrupt,
      fmt::format("a vocabulary of {} tokens", embedding->shape[1]));
  if (!read.ok()) return read.why();
  c.vocab = static_cast<std::uint32_t>(embedding->shape[1]);
  c.tied = file.find("output.weight") == nullptr;
  return c;
}

base::result<> check_ids(const llama_config& config, std::span<const token_id> ids) {
  for (const auto id : ids)
    if (id < 0 || static_cast<std::uint32_t>(id) >= config.vocab)
      return base::error{
          base::errc::invalid_argument,
          fmt::format("token {} is outside the vocabulary of {}", id, config.vocab)};
  return {};
}

}  // namespace dlls::model

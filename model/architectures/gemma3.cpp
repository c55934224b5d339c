// Gemma 3 (Gemma Team 2025), text: five layers that look through a sliding window for each one that
// sees everything, with rotary bases of their own; norms before and after both halves of a layer,
// and of the heads; GEGLU; embeddings scaled by sqrt(dim). GGUF files hold the norms' weights with
// their 1 already added.
#include <cmath>

#include "model/architectures/architecture.hpp"

namespace dlls::model {
namespace {

// The 27B model scales by its dim a head, not by head_dim. No key says so; its depth is its mark.
constexpr std::uint32_t layers_of_27b = 62;

void describe(config_reader& read, llama_config& c) {
  auto& t = c.traits;
  t.pairs = kernels::rope_pairs::halves;
  t.window = read.count("attention.sliding_window", 1, 1u << 24);
  t.full_every = read.count_or("attention.sliding_window_pattern", 6, 1, 1024);
  t.windowed_rope_base = read.real_or("rope.freq_base_swa", 10000.0f, 1.0f, 1e12f);
  t.qk_norm = true;
  t.post_norms = true;
  t.gate = gate_kind::gelu_tanh;
  t.embedding_scale = std::sqrt(static_cast<float>(c.dim));
  t.logit_softcap = read.real_or("final_logit_softcapping", 0.0f, 0.0f, 1e6f);
  if (c.layers == layers_of_27b && c.heads > 0)
    t.attention_scale = 1 / std::sqrt(static_cast<float>(c.dim / c.heads));
}

}  // namespace

const architecture gemma3_architecture{"gemma3", describe};

}  // namespace dlls::model

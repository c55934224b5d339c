// The shape of a model of the LLaMA kind (Touvron et al. 2023), and in what its architecture
// differs from LLaMA, as its GGUF metadata tells both.
#pragma once
#include <cstdint>
#include <optional>
#include <span>

#include "base/error.hpp"
#include "kernels/layout.hpp"
#include "model/token.hpp"

namespace dlls::model {

class gguf_file;

// What bends the gate of a feed-forward layer: SwiGLU's or GEGLU's (Shazeer 2020).
enum class gate_kind : std::uint8_t { silu, gelu_tanh };

// How rotary frequencies were stretched so that a context beyond the trained one works; the
// formulas stand in model/rope.cpp.
enum class rope_kind : std::uint8_t { none, linear, llama3, yarn };
struct rope_scaling {
  rope_kind kind = rope_kind::none;
  float factor = 1;                       // context now over context trained
  std::uint32_t trained = 0;              // tokens; llama3 and yarn
  float low_factor = 1, high_factor = 4;  // llama3: turns in the trained context
  float slow_turns = 1, fast_turns = 32;  // yarn: the same
  float attention_factor = 1;             // yarn: on top of the paper's own
  bool operator==(const rope_scaling&) const = default;
};

// In what an architecture differs from LLaMA; as it stands here, in nothing. The loader and the
// forward pass read these fields and never ask for a name, so that an architecture is one file of
// model/architectures/ that sets them.
struct llama_traits {
  kernels::rope_pairs pairs = kernels::rope_pairs::adjacent;
  rope_scaling scaling;
  std::uint32_t window = 0;      // positions that a windowed layer sees, its own included; 0: all
  std::uint32_t full_every = 0;  // every n-th layer sees all in spite of the window; 0: none does
  float windowed_rope_base = 0;  // unscaled, in windowed layers; 0: they turn like the others
  bool qkv_bias = false;         // attn_q.bias, attn_k.bias, attn_v.bias
  bool qk_norm = false;          // each head of q and k is normed before it is turned
  bool post_norms = false;       // what a layer adds to the stream is normed first
  gate_kind gate = gate_kind::silu;
  float embedding_scale = 1;
  float attention_scale = 0;  // of q k; 0: 1 / sqrt(head_dim). Only with qk_norm
  float logit_softcap = 0;    // logits become cap tanh(logits / cap); 0: they stay
  bool operator==(const llama_traits&) const = default;
};

// How the hidden states of a text become one vector: their mean, or the last token's.
enum class pooling : std::uint8_t { mean, last };

struct llama_config {
  std::uint32_t vocab = 0;
  std::uint32_t dim = 0;
  std::uint32_t layers = 0;
  std::uint32_t heads = 0;
  std::uint32_t kv_heads = 0;
  std::uint32_t head_dim = 0;
  std::uint32_t ff = 0;
  std::uint32_t context = 0;  // tokens
  float rope_base = 10000.0f;
  float rms_eps = 1e-5f;
  bool tied = false;  // the output layer is the embedding
  // For embeddings, where nobody asks for another. None: the file says one that we do not compute.
  std::optional<pooling> pooled = pooling::mean;
  llama_traits traits;

  bool windowed(std::uint32_t layer) const noexcept {
    return traits.window != 0 && (traits.full_every == 0 || (layer + 1) % traits.full_every != 0);
  }
  friend bool operator==(const llama_config&, const llama_config&) = default;
};

// From the metadata, and the embedding's shape for the vocabulary. unsupported: an architecture, a
// rotary scaling or another feature that we do not compute; corrupt: a missing or impossible number
// (every field is bounded, heads % kv_heads == 0, head_dim even, ...). The message names the key.
base::result<llama_config> read_llama_config(const gguf_file& file);

// invalid_argument: one of them is outside the vocabulary.
base::result<> check_ids(const llama_config& config, std::span<const token_id> ids);

}  // namespace dlls::model

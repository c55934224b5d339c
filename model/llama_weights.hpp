// Inside of llama: the packed weights, for its loader and its forward pass.
#pragma once
#include <cstdint>
#include <vector>

#include "kernels/memory.hpp"
#include "kernels/packed.hpp"
#include "model/llama.hpp"
#include "model/rope.hpp"

namespace dlls::model {

// Vectors that the model's traits do not ask for are empty.
struct llama_layer {
  std::vector<float> attention_norm;       // (dim)
  std::vector<float> ff_norm;              // (dim)
  kernels::packed_matrix q;                // (heads * head_dim, dim)
  kernels::packed_matrix k, v;             // (kv_heads * head_dim, dim)
  kernels::packed_matrix o;                // (dim, heads * head_dim)
  kernels::packed_matrix gate, up;         // (ff, dim)
  kernels::packed_matrix down;             // (dim, ff)
  std::vector<float> q_bias;               // (heads * head_dim)
  std::vector<float> k_bias, v_bias;       // (kv_heads * head_dim)
  std::vector<float> q_norm, k_norm;       // (head_dim), the attention's scale folded into q's
  std::vector<float> attention_post_norm;  // (dim)
  std::vector<float> ff_post_norm;         // (dim)
};

struct llama::weights {
  llama_config config;
  activations how = activations::q8;
  kernels::huge_buffer memory;       // what every packed_matrix points into
  kernels::packed_matrix embedding;  // (vocab, dim)
  kernels::packed_matrix output;     // the same view when tied
  std::vector<float> output_norm;    // (dim)
  std::vector<llama_layer> layers;
  rope_speeds rope;
  rope_speeds windowed_rope;  // of windowed layers, where they turn otherwise; else empty

  bool wants_q8(const kernels::packed_matrix& m) const noexcept {
    return how == activations::q8 && kernels::is_quantised(m.type);
  }
};

}  // namespace dlls::model

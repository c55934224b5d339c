// Inside of llama: the packed weights, for its loader and its forward pass.
#pragma once
#include <cstdint>
#include <vector>

#include "kernels/memory.hpp"
#include "kernels/packed.hpp"
#include "model/llama.hpp"

namespace dlls::model {

struct llama_layer {
  std::vector<float> attention_norm;  // (dim)
  std::vector<float> ff_norm;         // (dim)
  kernels::packed_matrix q;           // (heads * head_dim, dim)
  kernels::packed_matrix k, v;        // (kv_heads * head_dim, dim)
  kernels::packed_matrix o;           // (dim, heads * head_dim)
  kernels::packed_matrix gate, up;    // (ff, dim)
  kernels::packed_matrix down;        // (dim, ff)
};

struct llama::weights {
  llama_config config;
  activations how = activations::q8;
  kernels::huge_buffer memory;       // what every packed_matrix points into
  kernels::packed_matrix embedding;  // (vocab, dim)
  kernels::packed_matrix output;     // the same view when tied
  std::vector<float> output_norm;    // (dim)
  std::vector<llama_layer> layers;
  std::vector<double> frequencies;  // (head_dim / 2), radians a position

  bool wants_q8(const kernels::packed_matrix& m) const noexcept {
    return how == activations::q8 && kernels::is_quantised(m.type);
  }
};

}  // namespace dlls::model

// How fast the pairs of a head turn under the rotary embedding (Su et al. 2021).
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "model/llama_config.hpp"

namespace dlls::model {

struct rope_speeds {
  std::vector<double> frequencies;  // (head_dim / 2), radians a position
  double magnitude = 1;             // what cosines and sines are multiplied by

  // Cosines and sines of a position, as kernels::rope takes them: (head_dim / 2, 2).
  void turns(float* table, std::uint64_t position) const;
};

// base^(-2i / head_dim) with the scaling; then divided by `factors` (head_dim / 2; empty: none),
// which a file may bring: LLaMA 3.1's do there what rope_kind::llama3 says in words.
rope_speeds make_rope(
    std::uint32_t head_dim, float base, const rope_scaling& scaling,
    std::span<const float> factors = {});

}  // namespace dlls::model

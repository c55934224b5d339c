// Inside of a forward pass: the memory for activations of up to forward_tokens_max rows.
#pragma once
#include <cstddef>
#include <vector>

#include "kernels/element.hpp"
#include "model/kv_cache.hpp"

namespace dlls::model {

// Grows to what the largest pass so far needed, and stays.
struct kv_cache::workspace {
  std::vector<float> x;                   // (rows, dim): the residual stream
  std::vector<float> normed;              // (rows, dim)
  std::vector<float> q;                   // (rows, heads * head_dim)
  std::vector<float> k, v;                // (rows, kv_heads * head_dim)
  std::vector<float> attended;            // (rows, heads * head_dim)
  std::vector<float> gate, up;            // (rows, ff)
  std::vector<float> turns;               // (rows, head_dim): cosines and sines
  std::vector<float> windowed_turns;      // the same for windowed layers, where they differ
  std::vector<float> scratch;             // attention's
  std::vector<float> logits;              // of the rows at hand, forward_each only
  std::vector<kernels::q8_block> blocks;  // the quantised form of whatever is multiplied next

  void reserve(const llama_config& config, std::size_t rows);
};

}  // namespace dlls::model

// The memory of a forward pass: activations of up to forward_rows_max rows.
#pragma once
#include <cstddef>
#include <vector>

#include "kernels/element.hpp"
#include "kernels/ops.hpp"
#include "model/llama_config.hpp"

namespace dlls::model {

// Grows to what the largest pass so far needed, and stays. One pass at a time, of any model.
class forward_scratch {
 public:
  void reserve(const llama_config& config, std::size_t rows);

 private:
  friend class forward_pass;
  struct row {
    std::size_t part;
    std::size_t position;  // in its sequence
  };

  std::vector<row> rows;
  std::vector<float> x;               // (rows, dim): the residual stream
  std::vector<float> normed;          // (rows, dim)
  std::vector<float> q;               // (rows, heads * head_dim)
  std::vector<float> k, v;            // (rows, kv_heads * head_dim)
  std::vector<float> attended;        // (rows, heads * head_dim)
  std::vector<float> gate, up;        // (rows, ff)
  std::vector<float> turns;           // (rows, head_dim): cosines and sines
  std::vector<float> windowed_turns;  // the same for windowed layers, where they differ
  std::vector<kernels::attention_rows> sequences;
  std::vector<float> partials;            // attention's
  std::vector<kernels::q8_block> blocks;  // the quantised form of whatever is multiplied next
};

}  // namespace dlls::model

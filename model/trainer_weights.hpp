// Where each tensor of a LLaMA model lies in one flat array: weights, gradients and moments are
// such arrays, so that an update, a norm or a checkpoint is one pass over memory.
#pragma once
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "model/gguf.hpp"
#include "model/llama_config.hpp"
#include "model/trainer_spec.hpp"

namespace dlls::model {

// One tensor, row-major (rows, columns), named as in GGUF. A norm is one row.
struct parameter {
  std::string name;
  std::size_t rows = 0, columns = 0;
  std::size_t offset = 0;  // of its first value
  bool matrix = false;     // weight decay goes here
  std::size_t values() const noexcept { return rows * columns; }
};

// Immutable. q, k and v of a layer are neighbours, and so are gate and up: each group is one matrix
// to the pass. The rows of q and k are in GGUF's order (RoPE on adjacent pairs).
class parameter_layout {
 public:
  explicit parameter_layout(const llama_config& config);

  // Offsets.
  struct layer {
    std::size_t attention_norm, qkv, attention_out, ff_norm, gate_up, down;
  };
  std::size_t embedding() const noexcept { return embedding_; }      // (vocab, dim)
  std::size_t output_norm() const noexcept { return output_norm_; }  // (dim)
  std::size_t output() const noexcept { return output_; }  // (vocab, dim); tied: the embedding
  std::span<const layer> layers() const noexcept { return layers_; }

  std::span<const parameter> all() const noexcept { return all_; }
  std::size_t values() const noexcept { return values_; }

 private:
  std::size_t add(std::string name, std::size_t rows, std::size_t columns);

  std::vector<parameter> all_;
  std::vector<layer> layers_;
  std::size_t embedding_ = 0, output_norm_ = 0, output_ = 0, values_ = 0;
};

// Widens every tensor of the file into `weights` (layout.values()). corrupt: one is missing or has
// another shape; unsupported: one is there that the pass does not know (a bias, an expert).
base::result<> read_weights(
    const gguf_file& file, const parameter_layout& layout, std::span<float> weights);

// Matrices from a normal distribution (0, 0.02), norms 1: from the seed, the same on every machine.
void draw_weights(const parameter_layout& layout, std::uint64_t seed, std::span<float> weights);

// The configuration of a model trained from nothing.
llama_config config_of(const pretrain_shape& shape, std::size_t vocab, std::uint32_t context);

// What each rotation frequency is divided by (Llama 3's `rope_freqs.weight`), head_dim / 2 numbers;
// empty when the file has none. corrupt when the tensor has another size.
base::result<std::vector<float>> read_rope_factors(
    const gguf_file& file, const llama_config& config);

}  // namespace dlls::model

// The shape of a LLaMA-family model (Touvron et al. 2023), as its GGUF metadata tells it.
#pragma once
#include <cstdint>

#include "base/error.hpp"

namespace dlls::model {

class gguf_file;

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

  friend bool operator==(const llama_config&, const llama_config&) = default;
};

// From the metadata, and the embedding's shape for the vocabulary. unsupported: another
// architecture, or a rotary scaling we do not compute; corrupt: a missing or impossible number
// (every field is bounded, heads % kv_heads == 0, head_dim even, ...), the message says which.
base::result<llama_config> read_llama_config(const gguf_file& file);

}  // namespace dlls::model

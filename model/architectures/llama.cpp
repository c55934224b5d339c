// LLaMA (Touvron et al. 2023), and what calls itself by its name: LLaMA 2 and 3, SmolLM, TinyLlama,
// and Mistral (Jiang et al. 2023), whose layers may all look through a sliding window.
#include "model/architectures/architecture.hpp"

namespace dlls::model {
namespace {

void describe(config_reader& read, llama_config& c) {
  c.traits.window = read.count_or("attention.sliding_window", 0, 0, 1u << 24);
  c.traits.qkv_bias = read.has_tensor("blk.0.attn_q.bias");
}

}  // namespace

const architecture llama_architecture{"llama", describe};

}  // namespace dlls::model

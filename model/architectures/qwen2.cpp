// Qwen 2 and 2.5 (Yang et al. 2024): biases before attention, and the pairs of the rotary embedding
// half a head apart. The sliding window that its papers mention is switched off in every release.
#include "model/architectures/architecture.hpp"

namespace dlls::model {
namespace {

void describe(config_reader&, llama_config& c) {
  c.traits.pairs = kernels::rope_pairs::halves;
  c.traits.qkv_bias = true;
}

}  // namespace

const architecture qwen2_architecture{"qwen2", describe};

}  // namespace dlls::model

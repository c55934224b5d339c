// Qwen 3 (Yang et al. 2025), dense: Qwen 2 with a norm of every head of q and k in place of biases.
#include "model/architectures/architecture.hpp"

namespace dlls::model {
namespace {

void describe(config_reader&, llama_config& c) {
  c.traits.pairs = kernels::rope_pairs::halves;
  c.traits.qk_norm = true;
}

}  // namespace

const architecture qwen3_architecture{"qwen3", describe};

}  // namespace dlls::model

// A LLaMA-family model ready to compute: weights packed for this machine, and the forward pass.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "base/error.hpp"
#include "model/kv_cache.hpp"
#include "model/llama_config.hpp"
#include "model/token.hpp"

namespace dlls::kernels {
class thread_pool;
}

namespace dlls::model {

class gguf_file;

// How activations meet quantised weights: exactly in float, or quantised to 8 bits in blocks of 32,
// several times as fast; the default everywhere but in parity tests. Weights that are not
// quantised are the same either way.
enum class activations { f32, q8 };

// Immutable after load: any number of threads and caches may share one.
class llama {
 public:
  // Reads the configuration, checks that every tensor is there with the type and shape it must
  // have, and packs the weights (about as many bytes as the file; the file's pages are not needed
  // afterwards, its metadata may be). corrupt, unsupported: the message names the key or tensor;
  // resource_exhausted: not enough memory.
  static base::result<std::shared_ptr<const llama>> load(
      std::shared_ptr<const gguf_file> file, activations how = activations::q8);
  ~llama();
  llama(const llama&) = delete;
  llama& operator=(const llama&) = delete;

  const llama_config& config() const noexcept;
  activations how() const noexcept;
  // Resident bytes of the packed weights.
  std::uint64_t bytes() const noexcept;
  // What a kv_cache for this model should hold: f32 with exact activations, f16 otherwise.
  kernels::element kv_type() const noexcept;

  struct weights;
  const weights& parts() const noexcept { return *weights_; }

 private:
  explicit llama(std::unique_ptr<weights> w) noexcept;
  std::unique_ptr<weights> weights_;
};

// Appends `tokens` at positions cache.size()... and gives the logits (vocab) that follow the last
// one; an empty span when they are not wanted. The caller sees to it that every id is inside the
// vocabulary and that cache.size() + tokens.size() is within the cache's capacity: otherwise a
// failed check. Long inputs are computed in pieces of forward_tokens_max, so memory stays bounded.
void forward(
    const llama& model, kv_cache& cache, std::span<const token_id> tokens, std::span<float> logits,
    kernels::thread_pool& pool);

// The same, handing out every token's logits in turn: each(position, logits). The logits are gone
// after the call.
void forward_each(
    const llama& model, kv_cache& cache, std::span<const token_id> tokens,
    const std::function<void(std::uint32_t position, std::span<const float> logits)>& each,
    kernels::thread_pool& pool);

// Rows of one pass.
inline constexpr std::uint32_t forward_tokens_max = 128;

}  // namespace dlls::model

// A LLaMA-family model ready to compute: weights packed for this machine, and the forward pass.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "base/error.hpp"
#include "model/forward_scratch.hpp"
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

// Rows of one pass.
inline constexpr std::uint32_t forward_rows_max = 128;

// Which of a part's tokens have something computed that leaves the pass: logits or hidden states.
enum class rows_kept : std::uint8_t { none, last, all };

// What a pass adds to one sequence: `tokens` at positions cache->size()..., at least one.
struct forward_part {
  kv_cache* cache = nullptr;
  std::span<const token_id> tokens;
  rows_kept wanted = rows_kept::last;
  // Where the wanted rows' hidden states go, (rows_wanted(), dim): what the final norm makes of the
  // last layer's stream. Empty: their logits are wanted instead.
  std::span<float> hidden = {};

  std::size_t rows_wanted() const noexcept {
    if (wanted == rows_kept::all) return tokens.size();
    return wanted == rows_kept::last && !tokens.empty() ? 1 : 0;
  }
  std::size_t logit_rows() const noexcept { return hidden.empty() ? rows_wanted() : 0; }
};

// One pass over several sequences, each of which has its own cache; all caches have grown
// afterwards. `logits` takes the logit_rows() of all parts, (rows, vocab), part after part. What
// comes out for a sequence does not depend on the others, nor on how its tokens are cut into
// passes, to the bit. The caller sees to it that every id is inside the vocabulary, that each cache
// has room, and that there are at most forward_rows_max tokens: otherwise a failed check.
void forward(
    const llama& model, forward_scratch& scratch, std::span<const forward_part> parts,
    std::span<float> logits, kernels::thread_pool& pool);

// One sequence alone, any number of tokens, in passes of forward_rows_max: the logits (vocab) that
// follow the last one, or none where `logits` is empty.
void forward(
    const llama& model, kv_cache& cache, std::span<const token_id> tokens, std::span<float> logits,
    kernels::thread_pool& pool);

// The same, handing out every token's logits in turn: each(position, logits). The logits are gone
// after the call.
void forward_each(
    const llama& model, kv_cache& cache, std::span<const token_id> tokens,
    const std::function<void(std::uint32_t position, std::span<const float> logits)>& each,
    kernels::thread_pool& pool);

}  // namespace dlls::model

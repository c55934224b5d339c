// How well a model predicts a text, and what it predicts next.
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "kernels/element.hpp"
#include "model/sampler.hpp"
#include "model/tokenizer.hpp"

namespace dlls::kernels {
class thread_pool;
}

namespace dlls::model {

class llama;

struct perplexity_report {
  double mean_nll = 0;  // nats a scored token
  double perplexity = 0;
  std::uint64_t tokens_scored = 0;
  std::uint32_t windows = 0;
};

// As llama.cpp's `perplexity` does it, so that figures compare: the text's ids (with bos() where
// add_bos()) are cut into windows of `context` that do not overlap, a last incomplete one is
// dropped; where add_bos(), each window's first token is replaced by bos(). In each window only the
// tokens at context/2 + 1 .. context-1 are scored, each from all before it in the window.
// invalid_argument: a context below 4 or above the model's, or a text shorter than one window.
// cancelled: `progress` (share done, 0 to 1, called after each window) returned false.
// `cache_type`: of the key-value cache's numbers, as llama::kv_type has it.
base::result<perplexity_report> perplexity(
    const llama& model, const tokenizer& vocabulary, std::string_view text, std::uint32_t context,
    kernels::thread_pool& pool, const std::function<bool(float)>& progress = {},
    std::optional<kernels::element> cache_type = {});

struct next_token {
  token_id token = no_token;
  float logit = 0;
  float logprob = 0;
};

// The k likeliest tokens after `prompt`, in falling order. invalid_argument as for a generation.
base::result<std::vector<next_token>> next_tokens(
    const llama& model, std::span<const token_id> prompt, std::size_t k,
    kernels::thread_pool& pool);

}  // namespace dlls::model

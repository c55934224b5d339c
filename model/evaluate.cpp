#include "model/evaluate.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>

#include "model/kv_cache.hpp"
#include "model/llama.hpp"

namespace dlls::model {
namespace {
using base::errc;
using base::error;

// Adds the negative log-likelihoods of one window's second half. Gives how many tokens those are.
std::uint32_t score_window(
    const llama& model, std::span<const token_id> window, kv_cache& cache, double& nll,
    kernels::thread_pool& pool) {
  cache.truncate(0);
  const auto first = window.size() / 2;
  forward(model, cache, window.first(first), {}, pool);
  // The logits at a position predict the token after it; the last token's are not needed.
  const auto scored = window.subspan(first, window.size() - 1 - first);
  forward_each(
      model, cache, scored,
      [&](std::uint32_t position, std::span<const float> logits) {
        nll += log_sum_exp(logits) - logits[window[position + 1]];
      },
      pool);
  return static_cast<std::uint32_t>(scored.size());
}
}  // namespace

base::result<perplexity_report> perplexity(
    const llama& model, const tokenizer& vocabulary, std::string_view text, std::uint32_t context,
    kernels::thread_pool& pool, const std::function<bool(float)>& progress,
    std::optional<kernels::element> cache_type) {
  if (context < 4 || context > model.config().context)
    return error{
        errc::invalid_argument, fmt::format(
                                    "a context of {} tokens; it must be 4 to the model's {}",
                                    context, model.config().context)};
  if (vocabulary.vocab_size() > model.config().vocab)
    return error{errc::corrupt, "the tokenizer has more tokens than the model's embedding"};
  const auto type = model.kv_type(cache_type);
  if (!type) return type.error();
  auto ids = vocabulary.encode_prompt(text, false);
  const auto windows = static_cast<std::uint32_t>(ids.size() / context);
  if (windows == 0)
    return error{
        errc::invalid_argument,
        fmt::format("the text has {} tokens, a window takes {}", ids.size(), context),
        "give a longer text or a smaller context"};
  const bool with_bos = vocabulary.add_bos() && vocabulary.bos() != no_token;
  kv_cache cache{model.config(), context, *type};
  perplexity_report report;
  double nll = 0;
  for (std::uint32_t w = 0; w < windows; ++w) {
    const auto window = std::span{ids}.subspan(std::size_t{w} * context, context);
    if (with_bos) window.front() = vocabulary.bos();
    report.tokens_scored += score_window(model, window, cache, nll, pool);
    report.windows = w + 1;
    if (progress && !progress(static_cast<float>(w + 1) / static_cast<float>(windows)))
      return error{errc::cancelled, "the evaluation was stopped"};
  }
  report.mean_nll = nll / static_cast<double>(report.tokens_scored);
  report.perplexity = std::exp(report.mean_nll);
  return report;
}

base::result<std::vector<next_token>> next_tokens(
    const llama& model, std::span<const token_id> prompt, std::size_t k,
    kernels::thread_pool& pool) {
  const auto& config = model.config();
  const bool inside = std::ranges::all_of(prompt, [&](token_id id) {
    return id >= 0 && static_cast<std::uint32_t>(id) < config.vocab;
  });
  if (prompt.empty() || !inside)
    return error{errc::invalid_argument, "the prompt is empty or has ids outside the vocabulary"};
  if (prompt.size() > config.context)
    return error{
        errc::invalid_argument,
        fmt::format(
            "the prompt has {} tokens, the model's context {}", prompt.size(), config.context)};
  kv_cache cache{config, static_cast<std::uint32_t>(prompt.size()), model.kv_type()};
  std::vector<float> logits(config.vocab);
  forward(model, cache, prompt, logits, pool);
  std::vector<next_token> next;
  for (const auto& t : top_logprobs(logits, k))
    next.push_back({t.token, logits[t.token], t.logprob});
  return next;
}

}  // namespace dlls::model

#include "model/sampler.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string_view>

#include "base/check.hpp"

namespace dlls::model {
namespace {
constexpr float nothing = -std::numeric_limits<float>::infinity();

// Likelier first; of equals the smaller id, so that the order never depends on chance.
bool likelier(const token_logprob& a, const token_logprob& b) noexcept {
  return a.logprob != b.logprob ? a.logprob > b.logprob : a.token < b.token;
}

token_id largest(std::span<const float> logits) noexcept {
  token_id best = 0;
  float best_logit = nothing;
  for (std::size_t i = 0; i < logits.size(); ++i)
    if (logits[i] > best_logit) best_logit = logits[i], best = static_cast<token_id>(i);
  return best;
}

// Sorts the front of `candidates` only as far as needed: until their weights reach `share` of the
// total. Gives how many those are.
std::size_t keep_share(
    std::vector<token_logprob>& candidates, float max, double total, float share) {
  constexpr std::size_t step = 256;
  const auto enough = share * total;
  double sum = 0;
  for (std::size_t sorted = 0; sorted < candidates.size();) {
    const auto first = candidates.begin() + static_cast<std::ptrdiff_t>(sorted);
    const auto end = std::min(candidates.size(), sorted + std::max(step, sorted));
    const auto last = candidates.begin() + static_cast<std::ptrdiff_t>(end);
    if (last != candidates.end()) std::nth_element(first, last, candidates.end(), likelier);
    std::sort(first, last, likelier);
    for (; sorted < end; ++sorted) {
      sum += std::exp(static_cast<double>(candidates[sorted].logprob - max));
      if (sum >= enough) return sorted + 1;
    }
  }
  return candidates.size();
}
}  // namespace

base::result<> sampling::valid() const {
  auto outside = [](std::string_view field, double value,
                    std::string_view range) -> base::result<> {
    return base::error{
        base::errc::invalid_argument, fmt::format("{} is {}, it must be {}", field, value, range)};
  };
  // Written so that NaN fails.
  if (!(temperature >= 0 && temperature <= 10))
    return outside("temperature", temperature, "from 0 to 10");
  if (!(top_p > 0 && top_p <= 1)) return outside("top_p", top_p, "above 0, at most 1");
  if (!(min_p >= 0 && min_p <= 1)) return outside("min_p", min_p, "from 0 to 1");
  if (top_k < 0) return outside("top_k", top_k, "0 or more");
  if (!(repetition_penalty > 0 && repetition_penalty <= 10))
    return outside("repetition_penalty", repetition_penalty, "above 0, at most 10");
  if (!(std::abs(frequency_penalty) <= 2))
    return outside("frequency_penalty", frequency_penalty, "from -2 to 2");
  if (!(std::abs(presence_penalty) <= 2))
    return outside("presence_penalty", presence_penalty, "from -2 to 2");
  for (const auto& [token, bias] : logit_bias)
    if (!(std::abs(bias) <= 100)) return outside("logit_bias", bias, "from -100 to 100");
  return {};
}

sampler::sampler(sampling how) : how_(std::move(how)), random_(how_.seed) {
  base::check(how_.valid().has_value(), "sampling settings were validated");
}

void sampler::penalise(std::span<float> logits, std::span<const token_id> history) {
  for (const auto& [token, bias] : how_.logit_bias)
    if (token >= 0 && static_cast<std::size_t>(token) < logits.size()) logits[token] += bias;
  if (how_.repetition_penalty == 1 && how_.frequency_penalty == 0 && how_.presence_penalty == 0)
    return;
  seen_.resize(logits.size());
  auto inside = [&](token_id t) { return t >= 0 && static_cast<std::size_t>(t) < logits.size(); };
  for (const auto t : history)
    if (inside(t)) ++seen_[t];
  for (const auto t : history) {
    if (!inside(t) || seen_[t] == 0) continue;
    auto& logit = logits[t];
    logit = logit > 0 ? logit / how_.repetition_penalty : logit * how_.repetition_penalty;
    logit -= how_.frequency_penalty * static_cast<float>(seen_[t]) + how_.presence_penalty;
    seen_[t] = 0;  // once each, and clean for the next call
  }
}

token_id sampler::pick(std::span<float> logits, std::span<const token_id> history) {
  penalise(logits, history);
  return how_.temperature == 0 ? largest(logits) : draw(logits);
}

token_id sampler::draw(std::span<const float> logits) {
  candidates_.clear();
  float max = nothing;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    const float scaled = logits[i] / how_.temperature;
    if (!(scaled > nothing)) continue;  // NaN and -infinity
    candidates_.push_back({static_cast<token_id>(i), scaled});
    max = std::max(max, scaled);
  }
  if (candidates_.empty()) return 0;
  if (how_.top_k > 0 && static_cast<std::size_t>(how_.top_k) < candidates_.size()) {
    std::nth_element(
        candidates_.begin(), candidates_.begin() + how_.top_k, candidates_.end(), likelier);
    candidates_.resize(static_cast<std::size_t>(how_.top_k));
    std::ranges::sort(candidates_, likelier);  // nth_element's order is the library's business
  }
  auto weight = [max](const token_logprob& c) {
    return std::isinf(c.logprob) ? 1.0 : std::exp(static_cast<double>(c.logprob - max));
  };
  auto total_of = [&] {
    double total = 0;
    for (const auto& c : candidates_) total += weight(c);
    return total;
  };
  if (how_.top_p < 1) candidates_.resize(keep_share(candidates_, max, total_of(), how_.top_p));
  if (how_.min_p > 0)
    std::erase_if(candidates_, [&](const token_logprob& c) { return weight(c) < how_.min_p; });
  double left = random_.uniform() * total_of();
  for (const auto& c : candidates_)
    if ((left -= weight(c)) < 0) return c.token;
  return candidates_.back().token;  // rounding
}

double log_sum_exp(std::span<const float> logits) noexcept {
  float max = nothing;
  for (const float l : logits) max = std::max(max, l);
  if (std::isinf(max)) return max;
  double sum = 0;
  for (const float l : logits)
    if (!std::isnan(l)) sum += std::exp(static_cast<double>(l) - max);
  return max + std::log(sum);
}

float logprob_of(std::span<const float> logits, token_id token) noexcept {
  return static_cast<float>(static_cast<double>(logits[token]) - log_sum_exp(logits));
}

std::vector<token_logprob> top_logprobs(std::span<const float> logits, std::size_t k) {
  std::vector<token_logprob> top;
  k = std::min(k, logits.size());
  for (std::size_t i = 0; i < logits.size() && k > 0; ++i) {
    const token_logprob here{static_cast<token_id>(i), logits[i]};
    if (std::isnan(here.logprob) || (top.size() == k && !likelier(here, top.front()))) continue;
    if (top.size() == k) {  // a heap whose front is the least likely
      std::ranges::pop_heap(top, likelier);
      top.pop_back();
    }
    top.push_back(here);
    std::ranges::push_heap(top, likelier);
  }
  std::ranges::sort(top, likelier);
  const auto sum = log_sum_exp(logits);
  for (auto& t : top) t.logprob = static_cast<float>(t.logprob - sum);
  return top;
}

}  // namespace dlls::model

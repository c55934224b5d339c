#include "model/drafter.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <utility>

namespace dlls::model {
using base::errc;
using base::error;

namespace {

// Of texts in one pass: what catches up does not hold the running answers up for long.
constexpr std::size_t rows_max = 64;
// What a row more takes in a pass of the large model, in passes of a single row (measured: 0.05 to
// 0.1 on two machines).
constexpr double row_cost = 0.08;
// Tokens in a time, against none guessed: less is eaten up by what the small model has to take in.
constexpr double worth_it = 1.1;
// The chance of a guess before anything is known, and how much of what is known each one makes.
constexpr double right_first = 0.75, share = 0.1;
// After a guess that does not pay any more, before the next try.
constexpr std::uint32_t pause_steps = 64;

kernels::element type_for(const llama& weights, std::optional<kernels::element> wanted) {
  const auto type = weights.kv_type(wanted);
  return type ? *type : weights.kv_type();
}

}  // namespace

std::size_t draft_length(double right, double cost, std::size_t most) noexcept {
  std::size_t best = 0;
  double best_gain = worth_it, tokens = 1, power = 1;
  for (std::size_t n = 1; n <= most; ++n) {
    power *= right;
    tokens += power;
    const double gain = tokens / (1 + static_cast<double>(n) * cost);
    if (gain <= best_gain) continue;
    best_gain = gain;
    best = n;
  }
  return best;
}

base::result<> drafter::fits(const draft_model& draft, const tokenizer& vocabulary) {
  const auto& own = *draft.vocabulary;
  if (own.vocab_size() > draft.weights->config().vocab)
    return error{
        errc::corrupt, fmt::format(
                           "the draft model's tokenizer has {} tokens, its embedding {}",
                           own.vocab_size(), draft.weights->config().vocab)};
  if (own.vocab_size() != vocabulary.vocab_size())
    return error{
        errc::invalid_argument,
        fmt::format(
            "the draft model has {} tokens, the model it is to guess for {}", own.vocab_size(),
            vocabulary.vocab_size())};
  for (std::size_t i = 0; i < own.vocab_size(); ++i) {
    const auto id = static_cast<token_id>(i);
    if (own.piece(id) != vocabulary.piece(id) || own.is_special(id) != vocabulary.is_special(id))
      return error{
          errc::invalid_argument,
          fmt::format("token {} of the draft model is another one in the model", id)};
  }
  return {};
}

std::uint64_t drafter::page_bytes(
    const draft_model& draft, std::optional<kernels::element> cache_type) {
  return kv_pool::page_bytes(draft.weights->config(), type_for(*draft.weights, cache_type));
}

drafter::drafter(
    draft_model draft, std::uint64_t target_bytes, std::optional<kernels::element> cache_type,
    std::uint32_t pages)
    : draft_(std::move(draft)),
      // A pass for one token takes as long as its weights take to read.
      cost_(static_cast<double>(draft_.weights->bytes()) / static_cast<double>(target_bytes)),
      pool_(std::make_shared<kv_pool>(
          draft_.weights->config(), pages, type_for(*draft_.weights, cache_type))) {}

drafter::text drafter::begin() const {
  text made{pool_};
  made.right_ = right_first;
  return made;
}

std::size_t drafter::length_for(const request& one) const noexcept {
  auto& of = *one.of;
  if (of.pause_ > 0) {
    --of.pause_;
    return 0;
  }
  const std::size_t context = draft_.weights->config().context;
  const auto room = context - std::min(context, one.tokens.size());
  return draft_length(of.right_, cost_ + row_cost, std::min(one.most, room));
}

// What the small model has not seen of a text, as far as there is room for it in a pass.
void drafter::take_in(request& one, std::size_t length, std::size_t& room) {
  auto& cache = one.of->cache_;
  cache.adopt(one.tokens);
  const auto left = one.tokens.size() - cache.size();
  const auto n = std::min(left, room);
  const bool all = n == left;
  const auto needed = cache.size() + n + (all ? length - 1 : 0);
  if (n == 0 || !cache.reserve(static_cast<std::uint32_t>(needed))) return;
  room -= n;
  parts_.push_back(
      {&cache, one.tokens.subspan(cache.size(), n), all ? rows_kept::last : rows_kept::none});
  if (!all) return;
  one.of->guessed_.reserve(length);
  going_.push_back({one.of, length});
}

// Its likeliest token for everyone who has logits; parts_ and going_ are then the next pass's.
void drafter::one_pass(kernels::thread_pool& pool) {
  const std::size_t vocab = draft_.weights->config().vocab;
  logits_.resize(going_.size() * vocab);
  forward(*draft_.weights, scratch_, parts_, logits_, pool);
  parts_.clear();
  auto rows = std::span<const float>{logits_};
  std::erase_if(going_, [&](const going& one) {
    const auto row = rows.first(draft_.vocabulary->vocab_size());
    rows = rows.subspan(vocab);
    auto& guessed = one.of->guessed_;
    guessed.push_back(static_cast<token_id>(std::ranges::max_element(row) - row.begin()));
    if (guessed.size() == one.length || draft_.vocabulary->is_end(guessed.back())) return true;
    parts_.push_back({&one.of->cache_, std::span{guessed}.last(1), rows_kept::last});
    return false;
  });
}

void drafter::guess(std::span<request> asked, kernels::thread_pool& pool) {
  // One that is far behind takes what room the others leave.
  std::ranges::stable_sort(
      asked, {}, [](const request& r) { return r.tokens.size() - r.of->cache_.size(); });
  parts_.clear();
  going_.clear();
  auto room = rows_max;
  for (auto& one : asked) {
    one.of->known_ = one.tokens.size();
    one.of->guessed_.clear();
    if (const auto length = length_for(one); length > 0) take_in(one, length, room);
  }
  while (!parts_.empty()) one_pass(pool);
}

void drafter::learn(text& of, std::span<const token_id> came) const noexcept {
  const auto compared = std::min(of.guessed_.size(), came.size());
  for (std::size_t i = 0; i < compared; ++i) {
    const bool right = of.guessed_[i] == came[i];
    of.right_ += share * ((right ? 1.0 : 0.0) - of.right_);
    if (!right) break;
  }
  if (draft_length(of.right_, cost_ + row_cost, rows_max) > 0) return;
  // Then with few guesses, until they show better.
  of.pause_ = pause_steps;
  of.right_ = std::min(right_first, 2 * (cost_ + row_cost));
}

void drafter::settle(text& of, std::span<const token_id> tokens) {
  const auto came = tokens.subspan(std::min(of.known_, tokens.size()));
  if (!of.guessed_.empty()) {
    learn(of, came);
    const auto right = std::ranges::mismatch(of.guessed_, came).in1 - of.guessed_.begin();
    const auto valid = of.known_ + static_cast<std::size_t>(right);
    of.cache_.truncate(static_cast<std::uint32_t>(std::min<std::size_t>(of.cache_.size(), valid)));
  }
  of.cache_.publish(tokens);
  of.guessed_.clear();
}

}  // namespace dlls::model

#include "model/sequence.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "base/check.hpp"
#include "base/encoding.hpp"

namespace dlls::model {
namespace {
using base::errc;
using base::error;

constexpr std::size_t stops_max = 16;
constexpr std::size_t stop_bytes_max = 256;
constexpr std::uint32_t logprobs_max = 100;

base::result<> check_request(
    const llama_config& config, const tokenizer& vocabulary, const generation_request& request) {
  auto refuse = [](std::string why) { return error{errc::invalid_argument, std::move(why)}; };
  if (vocabulary.vocab_size() > config.vocab)
    return error{
        errc::corrupt, fmt::format(
                           "the tokenizer has {} tokens, the model's embedding {}",
                           vocabulary.vocab_size(), config.vocab)};
  if (request.prompt.empty()) return refuse("the prompt is empty");
  if (auto checked = check_ids(config, request.prompt); !checked) return checked;
  if (request.prompt.size() >= config.context)
    return error{
        errc::too_long,
        fmt::format(
            "the prompt has {} tokens and leaves no room in the model's context of {}",
            request.prompt.size(), config.context),
        "shorten the prompt or use a model with a longer context"};
  if (request.max_tokens == 0u) return refuse("max_tokens is 0");
  if (request.stop.size() > stops_max)
    return refuse(fmt::format("{} stop strings, at most {}", request.stop.size(), stops_max));
  for (const auto& s : request.stop)
    if (s.empty() || s.size() > stop_bytes_max || !base::is_utf8(s))
      return refuse(fmt::format("a stop string is 1 to {} bytes of UTF-8", stop_bytes_max));
  if (request.logprobs.value_or(0) > logprobs_max)
    return refuse(fmt::format("at most {} logprobs a token", logprobs_max));
  base::check(
      !request.form || request.form->masks->vocabulary().get() == &vocabulary,
      "a form of the same vocabulary");
  return request.how.valid();
}
}  // namespace

std::string_view name(finish_reason reason) noexcept {
  switch (reason) {
    case finish_reason::none:
      return "";
    case finish_reason::stop:
      return "stop";
    case finish_reason::length:
      return "length";
  }
  return "";
}

base::result<sequence> sequence::begin(
    const llama_config& config, std::shared_ptr<const tokenizer> vocabulary,
    generation_request request) {
  if (auto checked = check_request(config, *vocabulary, request); !checked) return checked.error();
  const auto room = config.context - static_cast<std::uint32_t>(request.prompt.size());
  const auto answer_max = std::min(request.max_tokens.value_or(room), room);
  return sequence{std::move(vocabulary), std::move(request), answer_max};
}

sequence::sequence(
    std::shared_ptr<const tokenizer> vocabulary, generation_request request,
    std::uint32_t answer_max)
    : vocabulary_(std::move(vocabulary)),
      tokens_(std::move(request.prompt)),
      prompt_(static_cast<std::uint32_t>(tokens_.size())),
      answer_max_(answer_max),
      logprobs_(request.logprobs),
      end_tokens_(std::move(request.end_tokens)),
      ignore_end_(request.ignore_end),
      form_(
          request.form ? std::optional<constrained_text>{std::move(*request.form)} : std::nullopt),
      chooser_(std::move(request.how)),
      text_(vocabulary_),
      watch_(std::move(request.stop)) {
  if (end_tokens_.empty())
    end_tokens_.assign(vocabulary_->end_tokens().begin(), vocabulary_->end_tokens().end());
}

// no_token: none fits the form.
token_id sequence::choose(std::span<float> logits) {
  const auto ends = ignore_end_ ? std::span<const token_id>{} : end_tokens_;
  if (form_ && !form_->restrict(logits, ends)) return no_token;
  return chooser_.pick(logits, tokens().subspan(prompt_));
}

finish_reason sequence::reason_after(token_id token, bool ends) {
  if (ends || watch_.stopped()) return finish_reason::stop;
  // A model whose logits are no numbers chooses what may not come.
  if (form_ && !form_->add(token)) return finish_reason::length;
  if (form_ && form_->finished()) return finish_reason::stop;
  return tokens_.size() >= tokens_max() ? finish_reason::length : finish_reason::none;
}

generated_delta sequence::accept(std::span<float> logits) {
  base::check(!finished(), "a sequence that has not ended");
  // An embedding may have more rows than there are tokens (padding): those stand for nothing.
  const auto row = logits.first(vocabulary_->vocab_size());
  if (logprobs_) raw_.assign(row.begin(), row.end());
  generated_delta delta;
  delta.token = choose(row);
  const bool stuck = delta.token == no_token;
  if (stuck) delta.token = end_tokens_.empty() ? token_id{0} : end_tokens_.front();
  tokens_.push_back(delta.token);
  if (logprobs_)
    delta.logprobs = {
        logprob_of(raw_, delta.token),
        *logprobs_ > 0 ? top_logprobs(raw_, *logprobs_) : std::vector<token_logprob>{}};
  const bool ends =
      !ignore_end_ && std::ranges::find(end_tokens_, delta.token) != end_tokens_.end();
  if (!ends && !stuck) delta.text = watch_.add(text_.add(delta.token));
  reason_ = stuck ? finish_reason::length : reason_after(delta.token, ends);
  if (finished() && !watch_.stopped()) {
    delta.text += watch_.add(text_.finish());
    delta.text += watch_.finish();
  }
  return delta;
}

}  // namespace dlls::model

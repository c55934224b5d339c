#include "model/generate.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <new>
#include <utility>

#include "base/encoding.hpp"
#include "model/detokenizer.hpp"
#include "model/kv_cache.hpp"
#include "model/llama.hpp"

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
  for (const auto id : request.prompt)
    if (id < 0 || static_cast<std::uint32_t>(id) >= config.vocab)
      return refuse(fmt::format("token {} is outside the vocabulary of {}", id, config.vocab));
  if (request.prompt.size() >= config.context)
    return error{
        errc::invalid_argument,
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

struct generation::state {
  std::shared_ptr<const llama> model;
  std::shared_ptr<const tokenizer> vocabulary;
  generation_request request;
  std::uint32_t tokens_max;  // of the answer
  kv_cache cache;
  sampler chooser;
  detokenizer text;
  stop_watch watch;
  std::vector<float> logits;         // (vocab of the model)
  std::vector<float> raw;            // the same before penalties, where logprobs are wanted
  std::vector<token_id> completion;  // chosen so far
  std::size_t prompt_taken = 0;
  finish_reason reason = finish_reason::none;

  state(
      std::shared_ptr<const llama> m, std::shared_ptr<const tokenizer> v, generation_request r,
      std::uint32_t max)
      : model(std::move(m)),
        vocabulary(std::move(v)),
        request(std::move(r)),
        tokens_max(max),
        cache(
            model->config(), static_cast<std::uint32_t>(request.prompt.size()) + tokens_max,
            model->kv_type()),
        chooser(request.how),
        text(vocabulary),
        watch(request.stop),
        logits(model->config().vocab) {
    if (request.end_tokens.empty())
      request.end_tokens.assign(vocabulary->end_tokens().begin(), vocabulary->end_tokens().end());
  }

  // Whether logits for a next token are there afterwards.
  bool advance(kernels::thread_pool& pool) {
    if (prompt_taken == request.prompt.size()) {
      forward(*model, cache, {&completion.back(), 1}, logits, pool);
      return true;
    }
    const auto left = request.prompt.size() - prompt_taken;
    const auto count = std::min<std::size_t>(left, prefill_chunk_tokens);
    const bool last = count == left;
    const auto chunk = std::span{request.prompt}.subspan(prompt_taken, count);
    forward(*model, cache, chunk, last ? std::span{logits} : std::span<float>{}, pool);
    prompt_taken += count;
    return last;
  }

  generated_delta choose() {
    // An embedding may have more rows than there are tokens (padding): those stand for nothing.
    const auto row = std::span{logits}.first(vocabulary->vocab_size());
    if (request.logprobs) raw.assign(row.begin(), row.end());
    generated_delta delta;
    delta.token = chooser.pick(row, completion);
    completion.push_back(delta.token);
    if (request.logprobs)
      delta.logprobs = {
          logprob_of(raw, delta.token), *request.logprobs > 0 ? top_logprobs(raw, *request.logprobs)
                                                              : std::vector<token_logprob>{}};
    const bool ends = !request.ignore_end && std::ranges::find(request.end_tokens, delta.token) !=
                                                 request.end_tokens.end();
    if (!ends) delta.text = watch.add(text.add(delta.token));
    if (ends || watch.stopped())
      reason = finish_reason::stop;
    else if (completion.size() >= tokens_max)
      reason = finish_reason::length;
    if (reason != finish_reason::none && !watch.stopped()) {
      delta.text += watch.add(text.finish());
      delta.text += watch.finish();
    }
    return delta;
  }
};

generation::generation(std::unique_ptr<state> s) noexcept : state_(std::move(s)) {}
generation::generation(generation&&) noexcept = default;
generation& generation::operator=(generation&&) noexcept = default;
generation::~generation() = default;

base::result<generation> generation::start(
    std::shared_ptr<const llama> model, std::shared_ptr<const tokenizer> vocabulary,
    generation_request request) {
  const auto& config = model->config();
  if (auto checked = check_request(config, *vocabulary, request); !checked) return checked.error();
  const auto room = config.context - static_cast<std::uint32_t>(request.prompt.size());
  const auto tokens_max = std::min(request.max_tokens.value_or(room), room);
  try {
    return generation{std::make_unique<state>(
        std::move(model), std::move(vocabulary), std::move(request), tokens_max)};
  } catch (const std::bad_alloc&) {
    return error{
        errc::resource_exhausted, "not enough memory for the generation's key-value cache",
        "ask for fewer tokens or try again when others have finished"};
  }
}

std::optional<generated_delta> generation::step(kernels::thread_pool& pool) {
  if (finished() || !state_->advance(pool)) return std::nullopt;
  return state_->choose();
}

finish_reason generation::reason() const noexcept { return state_->reason; }

generation_usage generation::usage() const noexcept {
  return {
      static_cast<std::uint32_t>(state_->request.prompt.size()),
      static_cast<std::uint32_t>(state_->completion.size())};
}

float generation::prefilled() const noexcept {
  return static_cast<float>(state_->prompt_taken) /
         static_cast<float>(state_->request.prompt.size());
}

}  // namespace dlls::model

#include "actors/generation.hpp"

#include "base/random.hpp"
#include "model/json_schema.hpp"

namespace dlls::actors {
using base::result;

namespace {

result<std::vector<model::token_id>> prompt_of(
    const loaded_model& on, const generation_spec& spec) {
  if (spec.turns.empty()) return on.vocabulary->encode_prompt(spec.prompt, true);
  std::vector<model::chat_message> messages;
  for (const auto& turn : spec.turns) messages.emplace_back(turn.role, turn.content);
  return model::encode_chat(*on.vocabulary, on.how, messages);
}

result<std::optional<model::constraint>> form_of(
    const loaded_model& on, const generation_spec& spec) {
  if (spec.schema.empty()) return std::optional<model::constraint>{};
  auto rules = model::json_schema_grammar(spec.schema);
  if (!rules) return rules.error();
  on.masks->prepare();
  return std::optional{
      model::constraint{std::make_shared<const model::grammar>(std::move(*rules)), on.masks}};
}

}  // namespace

result<model::generation_request> request_of(const loaded_model& on, const generation_spec& spec) {
  auto prompt = prompt_of(on, spec);
  if (!prompt) return prompt.error();
  auto form = form_of(on, spec);
  if (!form) return form.error();
  model::generation_request request;
  request.prompt = std::move(*prompt);
  request.form = std::move(*form);
  if (spec.tokens_max > 0) request.max_tokens = spec.tokens_max;
  auto& how = request.how;
  for (const auto& one : spec.logit_bias) how.logit_bias.emplace_back(one.token, one.value);
  how.temperature = spec.temperature;
  how.top_p = spec.top_p;
  how.min_p = spec.min_p;
  how.top_k = static_cast<int>(spec.top_k);
  how.repetition_penalty = spec.repetition_penalty;
  how.frequency_penalty = spec.frequency_penalty;
  how.presence_penalty = spec.presence_penalty;
  how.seed = spec.seed ? spec.seed : base::secure_random_u64();
  request.stop = spec.stop;
  if (spec.logprobs >= 0) request.logprobs = static_cast<std::uint32_t>(spec.logprobs);
  return request;
}

token_info describe(const model::tokenizer& vocabulary, const model::generated_delta& delta) {
  token_info info;
  info.text = std::string{vocabulary.piece(delta.token)};
  if (!delta.logprobs) return info;
  info.logprob = delta.logprobs->logprob;
  for (const auto& one : delta.logprobs->top)
    info.top.push_back({std::string{vocabulary.piece(one.token)}, one.logprob});
  return info;
}

}  // namespace dlls::actors

#include "actors/generation.hpp"

#include "base/random.hpp"
#include "model/json_schema.hpp"
#include "model/tool_call_form.hpp"

namespace dlls::actors {
using base::errc;
using base::error;
using base::result;

namespace {

std::vector<model::chat_message> messages_of(const generation_spec& spec) {
  std::vector<model::chat_message> messages;
  for (const auto& turn : spec.turns) {
    auto& made = messages.emplace_back(turn.role, turn.content);
    made.tool_call_id = turn.answers;
    for (const auto& call : turn.calls)
      made.tool_calls.push_back({call.id, call.name, call.arguments});
  }
  return messages;
}

// What the answer has to be, and the beginning that it is given.
struct answer_form {
  std::optional<model::grammar> rules;
  std::string opening;
};

result<answer_form> form_of(
    const loaded_model& on, const generation_spec& spec,
    std::span<const model::chat_tool> offered) {
  answer_form form;
  if (spec.offer.required) {
    auto call = model::required_tool_call(on.how.tools(), offered, spec.offer.name);
    if (!call) return call.error();
    form.rules = std::move(call->rules);
    form.opening = std::move(call->opening);
  } else if (!spec.schema.empty()) {
    if (!offered.empty())
      return error{
          errc::unsupported, "an answer that keeps to a schema cannot be a call as well",
          "set tool_choice to none or required"}
          .about("response_format");
    auto rules = model::json_schema_grammar(spec.schema);
    if (!rules) return rules.error().about("response_format");
    form.rules = std::move(*rules);
  }
  return form;
}

result<std::vector<model::token_id>> prompt_of(
    const loaded_model& on, const generation_spec& spec, std::span<const model::chat_tool> offered,
    std::string_view opening) {
  if (spec.turns.empty()) return on.vocabulary->encode_prompt(spec.prompt, true);
  return model::encode_chat(*on.vocabulary, on.how, messages_of(spec), true, offered, opening);
}

}  // namespace

result<asked_generation> request_of(const loaded_model& on, const generation_spec& spec) {
  std::vector<model::chat_tool> offered;
  if (!spec.offer.tools.empty()) {
    auto tools = model::parse_chat_tools(spec.offer.tools);
    if (!tools) return tools.error();
    offered = std::move(*tools);
  }
  if (spec.turns.empty() && !offered.empty())
    return error{errc::invalid_argument, "tools are offered in messages, not beside a prompt"}
        .about("tools");
  auto form = form_of(on, spec, offered);
  if (!form) return form.error();
  auto prompt = prompt_of(on, spec, offered, form->opening);
  if (!prompt) return prompt.error();
  asked_generation asked{{}, {on.how.tools(), offered}};
  asked.reader.add(form->opening);
  auto& request = asked.request;
  request.prompt = std::move(*prompt);
  if (form->rules) {
    on.masks->prepare();
    request.form = model::constraint{
        std::make_shared<const model::grammar>(std::move(*form->rules)), on.masks};
  }
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
  return asked;
}

tool_call to_wire(model::tool_call call) {
  return {base::random_id("call_"), std::move(call.name), std::move(call.arguments)};
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

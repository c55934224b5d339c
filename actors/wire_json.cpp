#include "actors/wire_json.hpp"

#include <fmt/core.h>

#include <boost/json.hpp>
#include <cmath>
#include <limits>

namespace dlls::actors {
namespace json = boost::json;
using base::errc;
using base::error;
using base::result;

namespace {

const json::value* member(const json::value& object, std::string_view name) {
  const auto* members = object.if_object();
  if (!members) return nullptr;
  const auto* found = members->if_contains(name);
  return found && !found->is_null() ? found : nullptr;
}

error wrong(std::string_view name, std::string_view wanted) {
  return {errc::invalid_argument, fmt::format("member '{}' must be {}", name, wanted)};
}

error as_corrupt(error e) {
  e.code = errc::corrupt;
  return e;
}

}  // namespace

result<json::value> parse_json(std::string_view text) {
  json::parse_options options;
  options.max_depth = 32;
  boost::system::error_code failed;
  auto value = json::parse({text.data(), text.size()}, failed, {}, options);
  if (failed) return error{errc::corrupt, "not JSON: " + failed.message()};
  return value;
}

result<std::string> text_member(const json::value& object, std::string_view name) {
  const auto* found = member(object, name);
  const auto* text = found ? found->if_string() : nullptr;
  if (!text) return wrong(name, "a text");
  return std::string{text->data(), text->size()};
}

result<std::string> text_member(
    const json::value& object, std::string_view name, std::string otherwise) {
  return member(object, name) ? text_member(object, name) : result<std::string>{otherwise};
}

result<double> number_member(const json::value& object, std::string_view name, double otherwise) {
  const auto* found = member(object, name);
  if (!found) return otherwise;
  if (!found->is_number()) return wrong(name, "a number");
  const double value = found->to_number<double>();
  if (!std::isfinite(value)) return wrong(name, "a finite number");
  return value;
}

result<std::uint64_t> whole_member(
    const json::value& object, std::string_view name, std::uint64_t otherwise, std::uint64_t low,
    std::uint64_t high) {
  const auto* found = member(object, name);
  if (!found) return otherwise;
  boost::system::error_code failed;
  const auto value = found->is_number() ? found->to_number<std::uint64_t>(failed) : 0;
  if (!found->is_number() || failed || value < low || value > high)
    return wrong(name, fmt::format("a whole number from {} to {}", low, high));
  return value;
}

json::value to_json(const artifact_ref& artifact) {
  return json::object{
      {"name", artifact.name}, {"sha256", artifact.sha256}, {"bytes", artifact.bytes}};
}

json::value to_json(const std::vector<artifact_ref>& artifacts) {
  json::array list;
  for (const auto& artifact : artifacts) list.push_back(to_json(artifact));
  return list;
}

json::value to_json(const manifest& result) {
  return json::object{
      {"artifacts", to_json(result.artifacts)},
      {"model", result.model},
      {"metrics", result.metrics_json}};
}

namespace {

json::value to_json(const chat_turn& turn) {
  json::object made{{"role", turn.role}, {"content", turn.content}};
  if (!turn.answers.empty()) made["tool_call_id"] = turn.answers;
  if (!turn.calls.empty()) made["tool_calls"] = to_json(turn.calls);
  return made;
}

json::value text_as_json(const std::string& text) {
  return text.empty() ? json::value(nullptr) : value_or(parse_json(text), {});
}

json::value tool_choice_of(const tool_offer& offer) {
  if (!offer.required) return "auto";
  if (offer.name.empty()) return "required";
  return json::object{{"type", "function"}, {"function", json::object{{"name", offer.name}}}};
}

}  // namespace

json::value to_json(const std::vector<tool_call>& calls) {
  json::array list;
  for (const auto& call : calls)
    list.push_back(json::object{
        {"id", call.id},
        {"type", "function"},
        {"function", json::object{{"name", call.name}, {"arguments", call.arguments}}}});
  return list;
}

json::value to_json(const generation_spec& spec) {
  json::array turns, stop, biases;
  for (const auto& turn : spec.turns) turns.push_back(to_json(turn));
  for (const auto& text : spec.stop) stop.emplace_back(text);
  for (const auto& one : spec.logit_bias) biases.push_back(json::array{one.token, one.value});
  return json::object{
      {"model", spec.model},
      {"messages", turns},
      {"prompt", spec.prompt},
      {"max_tokens", spec.tokens_max},
      {"temperature", spec.temperature},
      {"top_p", spec.top_p},
      {"min_p", spec.min_p},
      {"top_k", spec.top_k},
      {"repetition_penalty", spec.repetition_penalty},
      {"frequency_penalty", spec.frequency_penalty},
      {"presence_penalty", spec.presence_penalty},
      {"seed", spec.seed},
      {"stop", stop},
      {"logit_bias", biases},
      {"logprobs", spec.logprobs},
      {"schema", text_as_json(spec.schema)},
      {"tools", text_as_json(spec.offer.tools)},
      {"tool_choice", tool_choice_of(spec.offer)},
      {"parallel_tool_calls", spec.offer.parallel}};
}

result<std::vector<artifact_ref>> artifacts_from(const json::value& value) {
  const auto* list = value.if_array();
  if (!list) return error{errc::corrupt, "artifacts must be a list"};
  std::vector<artifact_ref> artifacts;
  for (const auto& item : *list) {
    auto name = text_member(item, "name");
    auto sha256 = text_member(item, "sha256");
    auto bytes = member(item, "bytes") ? whole_member(item, "bytes", 0, 0, ~std::uint64_t{0})
                                       : wrong("bytes", "a whole number");
    if (!name) return as_corrupt(name.error());
    if (!sha256) return as_corrupt(sha256.error());
    if (!bytes) return as_corrupt(bytes.error());
    artifacts.emplace_back(std::move(*name), std::move(*sha256), *bytes);
  }
  return artifacts;
}

result<std::vector<artifact_ref>> inputs_of(std::string_view spec_json) {
  auto spec = parse_json(spec_json);
  if (!spec) return spec.error();
  const auto* members = spec->if_object();
  const auto* inputs = members ? members->if_contains("inputs") : nullptr;
  if (!inputs) return std::vector<artifact_ref>{};
  return artifacts_from(*inputs);
}

result<manifest> manifest_from(const json::value& value) {
  const auto* list = member(value, "artifacts");
  auto artifacts = list ? artifacts_from(*list) : std::vector<artifact_ref>{};
  auto model = text_member(value, "model", "");
  auto metrics = text_member(value, "metrics", "");
  if (!artifacts) return artifacts.error();
  if (!model) return as_corrupt(model.error());
  if (!metrics) return as_corrupt(metrics.error());
  return manifest{std::move(*artifacts), std::move(*model), std::move(*metrics)};
}

result<manifest> manifest_of(std::string_view text) {
  auto value = parse_json(text);
  return value ? manifest_from(*value) : result<manifest>{value.error()};
}

namespace {

result<std::vector<tool_call>> calls_from(const json::value& object) {
  std::vector<tool_call> calls;
  const auto* list = member(object, "tool_calls");
  if (!list) return calls;
  if (!list->is_array()) return wrong("tool_calls", "a list");
  for (const auto& item : list->get_array()) {
    const auto* function = member(item, "function");
    if (!function) return wrong("tool_calls", "a list of calls of functions");
    auto id = text_member(item, "id");
    auto name = text_member(*function, "name");
    auto arguments = text_member(*function, "arguments");
    if (!id) return id.error();
    if (!name) return name.error();
    if (!arguments) return arguments.error();
    calls.emplace_back(std::move(*id), std::move(*name), std::move(*arguments));
  }
  return calls;
}

result<std::vector<chat_turn>> turns_from(const json::value& object) {
  std::vector<chat_turn> turns;
  const auto* list = member(object, "messages");
  if (!list) return turns;
  if (!list->is_array()) return wrong("messages", "a list");
  for (const auto& item : list->get_array()) {
    auto role = text_member(item, "role");
    auto calls = calls_from(item);
    auto answers = text_member(item, "tool_call_id", "");
    if (!role) return role.error();
    if (!calls) return calls.error();
    if (!answers) return answers.error();
    auto content = calls->empty() ? text_member(item, "content") : text_member(item, "content", "");
    if (!content) return content.error();
    auto& made = turns.emplace_back(std::move(*role), std::move(*content));
    made.calls = std::move(*calls);
    made.answers = std::move(*answers);
  }
  return turns;
}

result<std::vector<std::string>> stop_from(const json::value& object) {
  std::vector<std::string> stop;
  const auto* value = member(object, "stop");
  if (!value) return stop;
  if (const auto* text = value->if_string())
    stop.emplace_back(text->data(), text->size());
  else if (const auto* list = value->if_array()) {
    for (const auto& item : *list) {
      if (!item.is_string()) return wrong("stop", "a text or a list of texts");
      stop.emplace_back(item.get_string().data(), item.get_string().size());
    }
  } else {
    return wrong("stop", "a text or a list of texts");
  }
  return stop;
}

// Pairs of a token and a number, as to_json writes them.
result<std::vector<bias>> biases_from(const json::value& object) {
  std::vector<bias> biases;
  const auto* list = member(object, "logit_bias");
  if (!list) return biases;
  const auto bad = wrong("logit_bias", "a list of [token, number]");
  if (!list->is_array()) return bad;
  for (const auto& item : list->get_array()) {
    const auto* pair = item.if_array();
    if (!pair || pair->size() != 2 || !(*pair)[0].is_int64() || !(*pair)[1].is_number()) return bad;
    const auto token = (*pair)[0].get_int64();
    if (token < 0 || token > std::numeric_limits<std::int32_t>::max()) return bad;
    biases.emplace_back(
        static_cast<std::int32_t>(token), static_cast<float>((*pair)[1].to_number<double>()));
  }
  return biases;
}

result<std::int32_t> logprobs_from(const json::value& object) {
  const auto* value = member(object, "logprobs");
  if (!value) return -1;
  const auto* count = value->if_int64();
  if (!count || *count < -1 || *count > 20)
    return wrong("logprobs", "a whole number from -1 to 20");
  return static_cast<std::int32_t>(*count);
}

// An object, unlike in the message, where it is that object's text.
result<std::string> schema_from(const json::value& object) {
  const auto* value = member(object, "schema");
  if (!value) return std::string{};
  if (!value->is_object()) return wrong("schema", "a JSON schema");
  return json::serialize(*value);
}

// OpenAI's `tools`, `tool_choice` and `parallel_tool_calls`.
result<tool_offer> offer_from(const json::value& object) {
  tool_offer offer;
  if (const auto* tools = member(object, "tools")) {
    if (!tools->is_array()) return wrong("tools", "a list");
    if (!tools->get_array().empty()) offer.tools = json::serialize(*tools);
  }
  if (const auto* parallel = member(object, "parallel_tool_calls")) {
    if (!parallel->is_bool()) return wrong("parallel_tool_calls", "true or false");
    offer.parallel = parallel->get_bool();
  }
  const auto* choice = member(object, "tool_choice");
  if (!choice || *choice == "auto") return offer;
  if (*choice == "none") {
    offer.tools.clear();
    return offer;
  }
  offer.required = true;
  if (*choice == "required") return offer;
  const auto* function = member(*choice, "function");
  auto name = function ? text_member(*function, "name")
                       : wrong("tool_choice", "none, auto, required or a function");
  if (!name) return name.error();
  offer.name = std::move(*name);
  return offer;
}

result<> floats_from(const json::value& object, generation_spec& spec) {
  const std::pair<std::string_view, float*> members[] = {
      {"temperature", &spec.temperature},
      {"top_p", &spec.top_p},
      {"min_p", &spec.min_p},
      {"repetition_penalty", &spec.repetition_penalty},
      {"frequency_penalty", &spec.frequency_penalty},
      {"presence_penalty", &spec.presence_penalty}};
  for (const auto& [name, target] : members) {
    auto value = number_member(object, name, *target);
    if (!value) return value.error();
    *target = static_cast<float>(*value);
  }
  return {};
}

}  // namespace

result<generation_spec> generation_from(const json::value& value) {
  generation_spec spec;
  auto model = text_member(value, "model");
  auto prompt = text_member(value, "prompt", "");
  auto turns = turns_from(value);
  auto stop = stop_from(value);
  auto tokens_max = whole_member(value, "max_tokens", 0, 0, 1u << 24);
  auto top_k = whole_member(value, "top_k", 0, 0, 1u << 20);
  auto seed = whole_member(value, "seed", 0, 0, ~std::uint64_t{0});
  if (!model) return model.error();
  if (!prompt) return prompt.error();
  if (!turns) return turns.error();
  if (!stop) return stop.error();
  if (!tokens_max) return tokens_max.error();
  if (!top_k) return top_k.error();
  if (!seed) return seed.error();
  auto biases = biases_from(value);
  auto logprobs = logprobs_from(value);
  auto schema = schema_from(value);
  auto offer = offer_from(value);
  if (!offer) return offer.error();
  if (!biases) return biases.error();
  if (!schema) return schema.error();
  if (!logprobs) return logprobs.error();
  if (auto done = floats_from(value, spec); !done) return done.error();
  if (turns->empty() && prompt->empty()) return wrong("messages", "given, or 'prompt'");
  spec.model = std::move(*model);
  spec.prompt = std::move(*prompt);
  spec.turns = std::move(*turns);
  spec.stop = std::move(*stop);
  spec.tokens_max = static_cast<std::uint32_t>(*tokens_max);
  spec.top_k = static_cast<std::uint32_t>(*top_k);
  spec.seed = *seed;
  spec.logit_bias = std::move(*biases);
  spec.logprobs = *logprobs;
  spec.schema = std::move(*schema);
  spec.offer = std::move(*offer);
  return spec;
}

}  // namespace dlls::actors

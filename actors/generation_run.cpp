// A durable generation: the job form of a completion, for work that nobody waits for on an open
// connection.
#include <boost/json.hpp>

#include "actors/generation.hpp"
#include "actors/job_run.hpp"
#include "actors/wire_json.hpp"
#include "model/generate.hpp"

namespace dlls::actors {
namespace json = boost::json;
using base::errc;
using base::error;
using base::result;

namespace {

class generation_run final : public job_run {
 public:
  generation_run(
      model::generation made, model::tool_call_reader reader, const generation_spec& spec,
      run_tools tools)
      : generation_(std::move(made)),
        reader_(std::move(reader)),
        parallel_(spec.offer.parallel),
        tokens_max_(spec.tokens_max),
        tools_(tools) {}

  bool done() const override { return generation_.finished(); }

  result<> step() override {
    if (auto delta = generation_.step(tools_.pool)) take(reader_.add(delta->text));
    return {};
  }

  run_progress progress() const override {
    return {generation_.usage().completion_tokens, tokens_max_, 0, -1};
  }

  result<run_result> finish() override {
    take(reader_.finish());
    const auto usage = generation_.usage();
    const bool stopped = generation_.reason() == model::finish_reason::stop;
    const json::object counts{
        {"prompt_tokens", usage.prompt_tokens}, {"completion_tokens", usage.completion_tokens}};
    run_result made;
    made.files.push_back(
        {"completion.json",
         json::serialize(json::object{
             {"text", text_},
             {"tool_calls", to_json(calls_)},
             {"finish_reason",
              stopped && !calls_.empty() ? "tool_calls" : model::name(generation_.reason())},
             {"usage", counts}})});
    made.metrics_json = json::serialize(counts);
    return made;
  }

 private:
  void take(model::tool_answer said) {
    text_ += said.content;
    for (auto& call : said.calls)
      if (parallel_ || calls_.empty()) calls_.push_back(to_wire(std::move(call)));
  }

  model::generation generation_;
  model::tool_call_reader reader_;
  bool parallel_;
  std::uint32_t tokens_max_;
  run_tools tools_;
  std::string text_;
  std::vector<tool_call> calls_;
};

}  // namespace

result<std::unique_ptr<job_run>> start_generation(work_order order, run_tools tools) {
  auto value = parse_json(order.spec_json);
  if (!value) return value.error();
  const auto* members = value->if_object();
  const auto* extra = members ? members->if_contains("extra") : nullptr;
  if (!extra || !extra->is_object())
    return error{errc::invalid_argument, "the specification lacks its 'extra' object"};
  auto request = *extra;
  // The model may stand beside the request, where every kind of job names it.
  if (!request.as_object().contains("model")) {
    auto model = text_member(*value, "model");
    if (!model) return model.error();
    request.as_object()["model"] = *model;
  }
  auto spec = generation_from(request);
  if (!spec) return spec.error();
  auto loaded = tools.cache.get(spec->model);
  if (!loaded) return loaded.error();
  auto asked = request_of(**loaded, *spec);
  if (!asked) return asked.error();
  auto made = model::generation::start(
      (*loaded)->weights, (*loaded)->vocabulary, std::move(asked->request));
  if (!made) return made.error();
  return std::make_unique<generation_run>(std::move(*made), std::move(asked->reader), *spec, tools);
}

}  // namespace dlls::actors

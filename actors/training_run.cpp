// Fine-tuning and training from nothing: the model's trainer, driven step by step, with a
// checkpoint now and then in the job's own folder, so that a killed node goes on where it was.
#include <fmt/core.h>

#include <algorithm>
#include <boost/json.hpp>
#include <chrono>

#include "actors/job_run.hpp"
#include "actors/wire_json.hpp"
#include "base/log.hpp"
#include "model/dataset.hpp"
#include "model/trainer.hpp"

namespace dlls::actors {
namespace json = boost::json;
using base::errc;
using base::error;
using base::result;
using seconds = std::chrono::duration<double>;

namespace {

// A checkpoint of a 135 M parameter model is 1.6 GB: often enough to lose little, rarely enough to
// cost little.
constexpr auto checkpoint_every = std::chrono::seconds{120};
// What "auto" aims at for a data set that fits one batch: enough steps to learn it by heart, and an
// end before that when the loss says so.
constexpr std::uint32_t auto_steps = 24;
constexpr float auto_target_loss = 0.01F;
constexpr std::uint64_t one_batch_tokens = 1024;
constexpr float base_learning_rate = 1e-4F;

std::string model_name_for(const json::value& spec, const job_ref& job) {
  const auto base = value_or(text_member(spec, "model", ""), std::string{});
  const auto suffix = value_or(text_member(spec, "suffix", ""), std::string{});
  // "ft:base:owner:suffix:id", OpenAI's form; a fine-tune of a fine-tune keeps the first base.
  auto root = base.starts_with("ft:") ? base.substr(3, base.find(':', 3) - 3) : base;
  return fmt::format(
      "ft:{}:dlls:{}:{}", root, suffix,
      job.id.substr(job.id.size() - std::min<std::size_t>(8, job.id.size())));
}

// OpenAI's hyperparameters with "auto" resolved for this data set, then whatever the "dlls" object
// says.
result<model::training_spec> spec_for(
    const json::value& spec, const std::string& kind, const model::dataset& data) {
  model::training_spec made;
  made.kind = kind;
  const auto* members = spec.if_object();
  const json::value nothing = json::object{};
  const auto* hyper = members->if_contains("hyperparameters");
  if (!hyper || hyper->is_null()) hyper = &nothing;
  auto batch = whole_member(*hyper, "batch_size", 0, 1, 65536);
  auto epochs = whole_member(*hyper, "n_epochs", 0, 1, 100000);
  auto factor = number_member(*hyper, "learning_rate_multiplier", 1);
  auto seed = whole_member(spec, "seed", 42, 0, 0x7FFFFFFF);
  if (!batch) return batch.error();
  if (!epochs) return epochs.error();
  if (!factor) return factor.error();
  if (!seed) return seed.error();
  const bool small = data.tokens() <= one_batch_tokens;
  made.batch_rows = *batch ? static_cast<std::uint32_t>(*batch) : small ? 0 : 8;
  const auto rows = made.batch_rows ? made.batch_rows : data.examples.size();
  const auto steps_an_epoch = (data.examples.size() + rows - 1) / rows;
  made.epochs = *epochs ? static_cast<std::uint32_t>(*epochs)
                        : std::clamp<std::uint32_t>(auto_steps / steps_an_epoch, 3, auto_steps);
  if (!*epochs && small) made.target_loss = auto_target_loss;
  made.learning_rate = base_learning_rate * static_cast<float>(*factor);
  made.seed = *seed;
  const auto* extra = members->if_contains("extra");
  if (!extra || !extra->is_object() || extra->get_object().empty()) return made;
  // The trainer's own field names, on top of what was just made.
  auto all = parse_json(model::to_json(made));
  if (!all) return all.error();
  for (const auto& [name, value] : extra->get_object()) all->as_object()[name] = value;
  return model::parse_training_spec(json::serialize(*all));
}

// Tokens an example may have: what the job asks for, within what the base model was made for.
result<std::uint32_t> context_for(
    const json::value& spec, const std::string& kind, std::uint32_t of_base) {
  const std::uint32_t most = of_base ? of_base : 2048;
  const auto* extra = spec.as_object().if_contains("extra");
  const json::value nothing = json::object{};
  auto asked = whole_member(extra ? *extra : nothing, "context", 0, 0, most);
  if (!asked) return asked.error();
  if (*asked) return static_cast<std::uint32_t>(*asked);
  return kind == "pretrain" ? std::min<std::uint32_t>(most, 256) : most;
}

class training_run final : public job_run {
 public:
  training_run(work_order order, std::string name, model::trainer made)
      : order_(std::move(order)), name_(std::move(name)), trainer_(std::move(made)) {}

  bool done() const override { return trainer_.done(); }

  result<> step() override {
    const auto begun = std::chrono::steady_clock::now();
    auto report = trainer_.step();
    if (!report) return report.error();
    last_ = *report;
    curve_.push_back(json::object{
        {"step", report->step}, {"loss", report->loss}, {"learning_rate", report->learning_rate}});
    const auto now = std::chrono::steady_clock::now();
    step_seconds_ = step_seconds_ < 0 ? seconds{now - begun}.count()
                                      : 0.7 * step_seconds_ + 0.3 * seconds{now - begun}.count();
    if (!done() && now - saved_ > checkpoint_every) {
      // A full disk costs the checkpoint, not the training.
      if (auto saved = trainer_.save_checkpoint(); !saved)
        base::log_warning(
            "trainer", "no checkpoint of {}: {}", order_.job.id, saved.error().text());
      saved_ = now;
    }
    return {};
  }

  run_progress progress() const override {
    const auto left = static_cast<double>(trainer_.steps_total() - trainer_.steps_done());
    return {
        trainer_.steps_done(), trainer_.steps_total(), last_.loss,
        step_seconds_ < 0 ? -1 : left * step_seconds_};
  }

  result<run_result> finish() override {
    run_result made;
    made.model_name = name_;
    made.model_file = order_.folder / "model.gguf";
    if (auto written = trainer_.export_gguf(made.model_file, name_); !written)
      return written.error();
    const json::object summary{
        {"model", name_},
        {"steps", trainer_.steps_done()},
        {"final_loss", last_.loss},
        {"trained_tokens", last_.tokens_seen},
        {"parameters", trainer_.parameters()}};
    made.metrics_json = json::serialize(summary);
    auto full = summary;
    full["curve"] = curve_;
    made.files.push_back({"metrics.json", json::serialize(full)});
    return made;
  }

 private:
  work_order order_;
  std::string name_;
  model::trainer trainer_;
  model::step_report last_;
  json::array curve_;  // of this process; a resumed run's begins at its checkpoint
  double step_seconds_ = -1;
  std::chrono::steady_clock::time_point saved_ = std::chrono::steady_clock::now();
};

}  // namespace

result<std::unique_ptr<job_run>> start_training(work_order order, run_tools tools) {
  auto spec = parse_json(order.spec_json);
  if (!spec) return spec.error();
  if (!spec->is_object())
    return error{errc::invalid_argument, "the specification is no JSON object"};
  if (order.inputs.empty())
    return error{errc::invalid_argument, "a training job needs a training file"};
  auto base_name = text_member(*spec, "model");
  if (!base_name) return base_name.error();
  auto stored = tools.models.find(*base_name);
  if (!stored) return stored.error();
  auto file = model::gguf_file::open(stored->path);
  if (!file) return file.error();
  auto vocabulary = model::tokenizer::from(**file);
  if (!vocabulary) return vocabulary.error();
  auto how = model::chat_template::from(**file);
  if (!how) return how.error();
  auto context = context_for(*spec, order.kind, stored->context);
  if (!context) return context.error();
  const auto& text = order.inputs.front().path;
  auto data = order.kind == "pretrain" ? model::load_text(text, **vocabulary, *context)
                                       : model::load_chat_jsonl(text, **vocabulary, *how, *context);
  if (!data) return data.error();
  auto training = spec_for(*spec, order.kind, *data);
  if (!training) return training.error();
  auto made = model::trainer::create(
      *file, std::move(*data), *training, tools.pool, order.folder / "checkpoints");
  if (!made) return made.error();
  auto name = model_name_for(*spec, order.job);
  return std::make_unique<training_run>(std::move(order), std::move(name), std::move(*made));
}

}  // namespace dlls::actors

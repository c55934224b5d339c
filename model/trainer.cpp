#include "model/trainer.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>

#include "base/check.hpp"
#include "base/log.hpp"
#include "base/random.hpp"
#include "base/sha256.hpp"
#include "model/trainer_state.hpp"

namespace dlls::model {
namespace {

base::error invalid(std::string message) {
  return {base::errc::invalid_argument, std::move(message)};
}

// Every id inside the vocabulary, every example inside the context.
base::result<> check_data(const dataset& data, const llama_config& config) {
  if (data.examples.empty()) return invalid("the data set is empty");
  for (std::size_t i = 0; i < data.examples.size(); ++i) {
    const auto& e = data.examples[i];
    const auto inside = [&](token_id t) { return t >= 0 && std::uint32_t(t) < config.vocab; };
    const auto counts = [](token_id t) { return t != kernels::no_target; };
    if (e.inputs.empty() || e.inputs.size() != e.targets.size())
      return invalid(fmt::format("example {} is empty or of unequal lengths", i + 1));
    if (e.inputs.size() > config.context)
      return invalid(fmt::format(
          "example {} has {} tokens, the context {}", i + 1, e.inputs.size(), config.context));
    if (!std::ranges::all_of(e.inputs, inside) ||
        !std::ranges::all_of(e.targets, [&](token_id t) { return !counts(t) || inside(t); }))
      return invalid(fmt::format("example {} has a token beyond the vocabulary", i + 1));
    if (std::ranges::none_of(e.targets, counts))
      return invalid(fmt::format("example {} has no target that counts", i + 1));
  }
  return {};
}

base::result<llama_config> configure(
    const gguf_file& base, const dataset& data, const training_spec& spec) {
  if (spec.kind == "fine_tune") {
    auto config = read_llama_config(base);
    if (config && config->traits != llama_traits{})
      return base::error{
          base::errc::unsupported, "training computes LLaMA's own arithmetic, not this model's",
          "fine-tune a model without biases, windows, extra norms or rotary scaling"};
    if (config && spec.context != 0) config->context = std::min(config->context, spec.context);
    return config;
  }
  const auto* tokens = base.find("token_embd.weight");
  const auto names = base.get_strings("tokenizer.ggml.tokens");
  const std::size_t vocab = names ? names->size() : tokens ? tokens->rows() : 0;
  if (vocab == 0) return base::error{base::errc::corrupt, "the base file has no vocabulary"};
  std::size_t longest = 1;
  for (const auto& e : data.examples) longest = std::max(longest, e.inputs.size());
  return config_of(spec.shape, vocab, spec.context ? spec.context : std::uint32_t(longest));
}

template <class T>
std::span<std::byte> bytes_of(training_buffer<T>& b) {
  return std::as_writable_bytes(std::span(b.data(), b.size()));
}

}  // namespace

trainer::state::state(
    std::shared_ptr<const gguf_file> b, dataset d, training_spec s, const llama_config& c,
    std::span<const float> rope_factors, kernels::thread_pool& p)
    : base(std::move(b)),
      data(std::move(d)),
      spec(std::move(s)),
      config(c),
      pool(p),
      layout(config),
      weights(layout, kernels::training_ops_for(kernels::active()), pool),
      pass(config, layout, kernels::training_ops_for(kernels::active()), pool, rope_factors) {
  const std::uint64_t rows = data.examples.size();
  if (spec.batch_rows == 0 || spec.batch_rows > rows) spec.batch_rows = std::uint32_t(rows);
  steps_per_epoch = (rows + spec.batch_rows - 1) / spec.batch_rows;
  steps_total = steps_per_epoch * spec.epochs;
}

std::vector<checkpoint_array> trainer::state::arrays() {
  return {
      {"weights.f32", bytes_of(weights.weights)},
      {"moment1.f32", bytes_of(weights.moment1)},
      {"moment2.f32", bytes_of(weights.moment2)}};
}

// Fisher and Yates' shuffle, from the seed and the epoch alone.
std::vector<std::uint32_t> trainer::state::order_of(std::uint64_t epoch) const {
  std::vector<std::uint32_t> order(data.examples.size());
  std::iota(order.begin(), order.end(), 0U);
  if (!spec.shuffle) return order;
  base::random_source random(base::random_source(spec.seed + epoch)());
  for (std::size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random.below(i)]);
  return order;
}

std::vector<token_batch> trainer::state::batches_of(std::uint64_t step) const {
  const auto order = order_of(step / steps_per_epoch);
  const std::size_t first = step % steps_per_epoch * spec.batch_rows;
  const std::size_t last = std::min<std::size_t>(first + spec.batch_rows, order.size());
  std::vector<token_batch> batches(1);
  for (std::size_t i = first; i < last; ++i) {
    const auto& e = data.examples[order[i]];
    const std::size_t held = batches.back().size();
    if (held > 0 && held + e.inputs.size() > spec.micro_batch_tokens) batches.emplace_back();
    batches.back().add(e.inputs, e.targets);
  }
  return batches;
}

base::result<> trainer::state::start(const std::filesystem::path& folder) {
  if (!folder.empty()) {
    const auto base_sha256 = base::sha256_file(base->path());
    if (!base_sha256) return base_sha256.error();
    training_identity identity{
        base::sha256_hex(to_json(spec)), data.sha256, *base_sha256,
        std::string(kernels::name(kernels::active())), pool.threads()};
    auto opened = checkpoint_store::open(folder, std::move(identity));
    if (!opened) return opened.error();
    store.emplace(std::move(*opened));
    const auto found = store->load(arrays());
    if (!found) return found.error();
    if (*found) {
      progress = **found;
      base::log_info("trainer", "continues after step {} of {}", progress.step, steps_total);
      return {};
    }
  }
  const std::span<float> into(weights.weights.data(), weights.weights.size());
  if (spec.kind == "pretrain")
    draw_weights(layout, spec.seed, into);
  else if (auto ok = read_weights(*base, layout, into); !ok)
    return ok;
  if (store) {  // a broken checkpoint may have been read into them
    weights.moment1 = training_buffer<float>(layout.values());
    weights.moment2 = training_buffer<float>(layout.values());
  }
  return {};
}

trainer::trainer(std::unique_ptr<state> s) : state_(std::move(s)) {}
trainer::~trainer() = default;
trainer::trainer(trainer&&) noexcept = default;
trainer& trainer::operator=(trainer&&) noexcept = default;

base::result<trainer> trainer::create(
    std::shared_ptr<const gguf_file> base, dataset data, training_spec spec,
    kernels::thread_pool& pool, std::filesystem::path checkpoint_folder) {
  base::check(base != nullptr, "a trainer without a base file");
  if (auto ok = validate(spec); !ok) return ok.error();
  const auto config = configure(*base, data, spec);
  if (!config) return config.error();
  if (config->head_dim > kernels::attention_head_dim_max)
    return base::error{base::errc::unsupported, "heads too wide to train"};
  if (auto ok = check_data(data, *config); !ok) return ok.error();
  std::vector<float> rope_factors;
  if (spec.kind == "fine_tune") {
    auto read = read_rope_factors(*base, *config);
    if (!read) return read.error();
    rope_factors = std::move(*read);
  }
  try {
    auto made = std::make_unique<state>(
        std::move(base), std::move(data), std::move(spec), *config, rope_factors, pool);
    if (auto ok = made->start(checkpoint_folder); !ok) return ok.error();
    if (auto ok = made->base->intact(); !ok) return ok.error();
    return trainer(std::move(made));
  } catch (const std::bad_alloc&) {
    return base::error{base::errc::resource_exhausted, "not enough memory to train this model"};
  }
}

base::result<step_report> trainer::step() {
  base::check(!done(), "a step after the last");
  auto& s = *state_;
  const auto started = std::chrono::steady_clock::now();
  const auto batches = s.batches_of(s.progress.step);
  std::uint64_t tokens = 0, targets = 0;
  for (const auto& b : batches) tokens += b.size(), targets += b.counted();

  step_report report;
  report.step = s.progress.step + 1, report.steps_total = s.steps_total;
  report.epoch = std::uint32_t(s.progress.step / s.steps_per_epoch + 1);
  report.learning_rate = learning_rate_at(s.spec, report.step, s.steps_total);
  try {
    report.loss = s.weights.gradient_of(s.pass, batches);
  } catch (const std::bad_alloc&) {
    return base::error{
        base::errc::resource_exhausted, "not enough memory for a step", "lower micro_batch_tokens"};
  }
  report.grad_norm = s.weights.norm();
  if (!std::isfinite(report.loss) || !std::isfinite(report.grad_norm))
    return base::error{
        base::errc::failed_precondition,
        fmt::format("the loss of step {} is no finite number", report.step),
        "lower the learning rate"};
  s.weights.update(
      s.spec, report.step, report.learning_rate, clip_scale(report.grad_norm, s.spec.clip));

  auto& p = s.progress;
  p.step = report.step, p.tokens_seen += tokens;
  p.epoch_loss_sum += report.loss * double(targets), p.epoch_targets += targets;
  if (p.step % s.steps_per_epoch == 0) {
    p.finished = p.epoch_loss_sum / double(p.epoch_targets) < s.spec.target_loss;
    p.epoch_loss_sum = 0, p.epoch_targets = 0;
  }
  report.tokens_seen = p.tokens_seen;
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - started;
  report.tokens_per_s = double(tokens) / took.count();
  return report;
}

bool trainer::done() const noexcept {
  return state_->progress.finished || state_->progress.step >= state_->steps_total;
}
std::uint64_t trainer::steps_done() const noexcept { return state_->progress.step; }
std::uint64_t trainer::steps_total() const noexcept { return state_->steps_total; }
std::uint64_t trainer::parameters() const noexcept { return state_->layout.values(); }

base::result<> trainer::save_checkpoint() {
  if (!state_->store)
    return base::error{base::errc::failed_precondition, "the trainer has no checkpoint folder"};
  return state_->store->save(state_->progress, state_->arrays());
}

}  // namespace dlls::model

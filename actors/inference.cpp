#include "actors/inference.hpp"

#include <algorithm>
#include <chrono>
#include <utility>

namespace dlls::actors {
using base::errc;
using base::error;
using base::failure;
using base::result;
using clock = std::chrono::steady_clock;

namespace {

// A running generation and what it needs, shared with the thread that steps it.
struct running {
  std::shared_ptr<const loaded_model> on;
  model::generation made;
  bool with_logprobs;
  actors::piece piece;  // not yet sent
};

result<std::shared_ptr<running>> begin(model_cache& models, const generation_spec& spec) {
  auto on = models.get(spec.model);
  if (!on) return on.error();
  auto made = begin_generation(**on, spec);
  if (!made) return made.error();
  return std::make_shared<running>(running{*on, std::move(*made), spec.logprobs >= 0, {}});
}

// Steps until a token has come, or one chunk of the prompt is done; then others have their turn.
void step(running& work, kernels::thread_pool& compute) {
  auto delta = work.made.step(compute);
  if (!delta) return;
  work.piece.text += delta->text;
  if (work.with_logprobs && !work.on->vocabulary->is_end(delta->token))
    work.piece.logprobs.push_back(describe(*work.on->vocabulary, *delta));
}

}  // namespace

// A place among those that run, or in the queue for one, until the coroutine ends, however it does.
class inference::seat {
 public:
  explicit seat(inference& of) : of_(of) {
    if (of_.running_ < generations_max)
      begin();
    else
      of_.waiting_.push_back(this);
  }
  // Whoever has waited longest gets the place of one that ran.
  ~seat() {
    if (!running_) {
      std::erase(of_.waiting_, this);
      return;
    }
    --of_.running_;
    if (of_.waiting_.empty()) return;
    auto* next = of_.waiting_.front();
    of_.waiting_.pop_front();
    next->begin();
  }
  seat(const seat&) = delete;
  seat& operator=(const seat&) = delete;

  bool running() const { return running_; }
  void wake_by(runtime::resolver<bool> wake) { wake_ = std::move(wake); }

 private:
  void begin() {
    running_ = true;
    ++of_.running_;
    if (auto waiting = std::exchange(wake_, std::nullopt)) (*waiting)(true);
  }

  inference& of_;
  bool running_ = false;
  std::optional<runtime::resolver<bool>> wake_;  // while it waits
};

inference::inference(
    caf::actor_config& config, std::shared_ptr<model_cache> models,
    std::shared_ptr<kernels::thread_pool> compute, std::shared_ptr<runtime::worker_pool> thread)
    : co_actor(config),
      models_(std::move(models)),
      compute_(std::move(compute)),
      thread_(std::move(thread)) {}

inference::behavior_type inference::make_behavior() { return {serve(&inference::answer)}; }

runtime::stream<piece> inference::answer(generate order) {
  if (waiting_.size() >= generations_waiting_max)
    throw failure(error{
        errc::resource_exhausted, "the node is answering as many prompts as it can",
        "try again in a few seconds"});
  seat place{*this};
  if (!place.running()) {
    auto keep = [&place](runtime::resolver<bool> wake) { place.wake_by(std::move(wake)); };
    co_await runtime::completion<bool>(this, keep);
  }
  auto models = models_;
  auto compute = compute_;
  auto start = [models, spec = order.spec] { return begin(*models, spec); };
  auto begun = co_await runtime::offload(this, *thread_, start);
  if (!begun) throw failure(begun.error());
  auto work = *begun;
  auto one_step = [work, compute] { step(*work, *compute); };
  auto sent = clock::time_point{};  // the first piece goes at once
  while (!work->made.finished()) {
    co_await runtime::offload(this, *thread_, one_step);
    const auto now = clock::now();
    if (order.stream && !work->made.finished() && !work->piece.text.empty() &&
        now - sent >= stream_piece_every) {
      co_yield std::exchange(work->piece, {});
      sent = now;
    }
  }
  auto last = std::move(work->piece);
  const auto usage = work->made.usage();
  last.finish_reason = std::string{model::name(work->made.reason())};
  last.prompt_tokens = usage.prompt_tokens;
  last.completion_tokens = usage.completion_tokens;
  co_yield std::move(last);
}

}  // namespace dlls::actors

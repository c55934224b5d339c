#include "actors/inference.hpp"

#include <algorithm>
#include <new>
#include <optional>
#include <utility>
#include <vector>

#include "actors/generation.hpp"
#include "base/log.hpp"
#include "runtime/caf_error.hpp"
#include "runtime/completion.hpp"
#include "runtime/sleep.hpp"

namespace dlls::actors {
using base::errc;
using base::error;
using base::failure;
using base::result;
using time_point = caf::actor_clock::time_point;

namespace {

struct prepared {
  std::shared_ptr<const loaded_model> on;
  asked_generation asked;
};

result<prepared> prepare(model_cache& models, const generation_spec& spec) {
  auto on = models.get(spec.model);
  if (!on) return on.error();
  auto request = request_of(**on, spec);
  if (!request) return request.error();
  return prepared{*on, std::move(*request)};
}

}  // namespace

// One answer's place: what has been made of it and not been sent. Lives in its handler's frame.
class inference::seat {
 public:
  seat(
      std::shared_ptr<room> at, model::sequence answer, model::tool_call_reader reader,
      const generate& order);
  ~seat();
  seat(const seat&) = delete;
  seat& operator=(const seat&) = delete;

  // Whether there is something to send; if not, whoever waits is woken when there is.
  bool has_piece(time_point now) const {
    return failed_ || !piece_.finish_reason.empty() ||
           (stream_ && !(piece_.text.empty() && piece_.calls.empty()) &&
            now - sent_ >= stream_piece_every);
  }
  void wake_by(runtime::resolver<bool> wake) { wake_ = std::move(wake); }
  piece take(time_point now) {
    if (failed_) throw failure(std::move(*failed_));
    sent_ = now;
    return std::exchange(piece_, {});
  }

  void add(const model::tokenizer& vocabulary, const model::engine::output& made, time_point now) {
    take(reader_.add(made.delta.text));
    if (with_logprobs_ && !vocabulary.is_end(made.delta.token))
      piece_.logprobs.push_back(describe(vocabulary, made.delta));
    if (made.reason != model::finish_reason::none) {
      take(reader_.finish());
      const bool stopped = made.reason == model::finish_reason::stop;
      piece_.finish_reason = stopped && called_ ? "tool_calls" : model::name(made.reason);
      piece_.prompt_tokens = made.usage.prompt_tokens;
      piece_.completion_tokens = made.usage.completion_tokens;
    }
    wake_if(has_piece(now));
  }
  void fail(error why) {
    failed_ = std::move(why);
    wake_if(true);
  }

 private:
  friend class room;
  void take(model::tool_answer said) {
    piece_.text += said.content;
    for (auto& call : said.calls)
      if (!std::exchange(called_, true) || parallel_)
        piece_.calls.push_back(to_wire(std::move(call)));
  }
  void wake_if(bool due) {
    if (!due) return;
    if (auto waiting = std::exchange(wake_, std::nullopt)) (*waiting)(true);
  }

  std::shared_ptr<room> at_;
  std::optional<model::sequence> to_add_;
  model::engine::sequence_id who_ = 0;  // once it is in the engine
  model::tool_call_reader reader_;
  std::string owner_;
  bool stream_, with_logprobs_, parallel_;
  bool called_ = false;
  actors::piece piece_;
  time_point sent_{};  // the first piece goes at once
  std::optional<error> failed_;
  std::optional<runtime::resolver<bool>> wake_;
};

// A model's engine and the seats at it. While a step runs on its thread the engine is the step's:
// who comes or goes meanwhile is noted down.
class inference::room {
 public:
  room(std::shared_ptr<const loaded_model> of, std::unique_ptr<model::engine> e)
      : on(std::move(of)), engine_(std::move(e)) {}

  const std::shared_ptr<const loaded_model> on;
  bool running = false;     // it has a task that runs it
  bool to_release = false;  // and one that waits for the end of its use
  time_point idle_since{};

  result<model::sequence> begin(model::generation_request request) const {
    return engine_->begin(std::move(request));
  }
  void enter(seat& one) { arriving_.push_back(&one); }
  void leave(seat& one) noexcept {
    std::erase(arriving_, &one);
    if (seats_.erase(one.who_) == 0) return;
    if (stepping_)
      leaving_.push_back(one.who_);
    else
      engine_->cancel(one.who_);
  }

  // Before a step: false: there is nothing to do.
  bool open() {
    for (const auto who : std::exchange(leaving_, {})) engine_->cancel(who);
    for (auto* one : std::exchange(arriving_, {})) {
      const auto who = engine_->add(std::move(*one->to_add_), one->owner_);
      one->to_add_.reset();
      if (!who) {
        one->fail(who.error());
        continue;
      }
      one->who_ = *who;
      seats_.emplace(*who, one);
    }
    return stepping_ = !engine_->idle();
  }
  // On the thread.
  void step(kernels::thread_pool& compute) { made_ = engine_->step(compute); }
  void close(time_point now) {
    stepping_ = false;
    for (const auto& made : made_)
      if (const auto found = seats_.find(made.who); found != seats_.end()) {
        auto* one = found->second;
        if (made.reason != model::finish_reason::none) seats_.erase(found);
        one->add(*on->vocabulary, made, now);
      }
  }
  // The engine is of no use any more.
  void fail(const error& why) {
    for (auto& [who, one] : std::exchange(seats_, {})) one->fail(why);
    for (auto* one : std::exchange(arriving_, {})) one->fail(why);
  }

 private:
  std::unique_ptr<model::engine> engine_;
  std::map<model::engine::sequence_id, seat*> seats_;
  std::vector<seat*> arriving_;
  std::vector<model::engine::sequence_id> leaving_;
  std::span<const model::engine::output> made_;
  bool stepping_ = false;
};

inference::seat::seat(
    std::shared_ptr<room> at, model::sequence answer, model::tool_call_reader reader,
    const generate& order)
    : at_(std::move(at)),
      to_add_(std::move(answer)),
      reader_(std::move(reader)),
      owner_(order.owner),
      stream_(order.stream),
      with_logprobs_(order.spec.logprobs >= 0),
      parallel_(order.spec.offer.parallel) {
  at_->enter(*this);
}
inference::seat::~seat() { at_->leave(*this); }

inference::inference(
    caf::actor_config& config, std::shared_ptr<model_cache> models,
    std::shared_ptr<kernels::thread_pool> compute, std::shared_ptr<runtime::worker_pool> preparing,
    std::shared_ptr<runtime::worker_pool> thread, inference_options options)
    : co_actor(config),
      models_(std::move(models)),
      compute_(std::move(compute)),
      preparing_(std::move(preparing)),
      thread_(std::move(thread)),
      options_(options) {}

inference::behavior_type inference::make_behavior() { return {serve(&inference::answer)}; }

runtime::stream<piece> inference::answer(generate order) {
  auto models = models_;
  auto before = [models, spec = order.spec] { return prepare(*models, spec); };
  auto asked = co_await runtime::offload(this, *preparing_, before);
  if (!asked && asked.error().code == errc::resource_exhausted && leave_idle_rooms())
    asked = co_await runtime::offload(this, *preparing_, before);
  if (!asked) throw failure(asked.error());
  auto at = room_for(asked->on);
  auto begun = at->begin(std::move(asked->asked.request));
  if (!begun) throw failure(begun.error());
  seat mine{at, std::move(*begun), std::move(asked->asked.reader), order};
  keep_going(at);
  for (;;) {
    if (!mine.has_piece(clock().now())) {
      auto keep = [&mine](runtime::resolver<bool> wake) { mine.wake_by(std::move(wake)); };
      co_await runtime::completion<bool>(this, keep);
    }
    auto next = mine.take(clock().now());
    const bool last = !next.finish_reason.empty();
    co_yield std::move(next);
    if (last) co_return;
  }
}

std::shared_ptr<inference::room> inference::room_for(std::shared_ptr<const loaded_model> on) {
  auto& at = rooms_[on.get()];
  if (at) return at;
  auto made = model::engine::make(on->weights, on->vocabulary, options_.limits);
  if (!made) {
    rooms_.erase(on.get());
    throw failure(made.error());
  }
  leave_idle_rooms();  // their caches make room for the new one's
  return rooms_[on.get()] = std::make_shared<room>(on, std::move(*made));
}

// An idle room keeps its model in use.
bool inference::leave_idle_rooms() {
  return std::erase_if(rooms_, [](const auto& one) { return one.second && !one.second->running; }) >
         0;
}

void inference::keep_going(const std::shared_ptr<room>& at) {
  if (at->running) return;
  at->running = true;
  tasks().spawn(run(at));
}

runtime::task<> inference::run(std::shared_ptr<room> at) {
  auto compute = compute_;
  auto one_step = [at, compute] { at->step(*compute); };
  std::optional<error> broken;
  while (!broken && at->open()) {
    try {
      co_await runtime::offload(this, *thread_, one_step);
      at->close(clock().now());
    } catch (const std::bad_alloc&) {
      broken = error{errc::resource_exhausted, "not enough memory to go on answering"};
    } catch (...) {
      broken = runtime::current_exception_error();
    }
  }
  at->running = false;
  at->idle_since = clock().now();
  if (broken) {
    base::log_error("inference", "{}: {}", at->on->from.name, broken->text());
    at->fail(*broken);
    rooms_.erase(at->on.get());
  } else if (!std::exchange(at->to_release, true)) {
    tasks().spawn(release_when_idle(at));
  }
}

runtime::task<> inference::release_when_idle(std::weak_ptr<room> which) {
  auto pause = options_.keep_idle;
  for (;;) {
    co_await runtime::sleep(this, pause);
    auto at = which.lock();
    if (!at) co_return;  // it has made room for another
    const auto idle = at->running ? std::chrono::nanoseconds{} : clock().now() - at->idle_since;
    if (idle < options_.keep_idle) {
      pause = options_.keep_idle - idle;
      continue;
    }
    auto on = at->on;
    rooms_.erase(on.get());
    at = nullptr;
    models_->release(on);
    base::log_info("inference", "released {}: nobody asked for it", on->from.name);
    co_return;
  }
}

}  // namespace dlls::actors

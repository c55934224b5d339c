#include "actors/inference.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <memory>
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

// Of one request, at the engine.
constexpr std::size_t texts_at_once = 16;
// Of an answer, in one piece, about: also one that nobody reads along with has to fit frames.
constexpr std::size_t piece_bytes = 64u << 10;

std::size_t wire_bytes(const token_info& info) {
  constexpr std::size_t numbers = 16;
  auto bytes = numbers + info.text.size();
  for (const auto& one : info.top) bytes += numbers + one.text.size();
  return bytes;
}

// Where a request finds its models: `draft` is the name of one that guesses, or empty.
struct model_source {
  std::shared_ptr<model_cache> models;
  std::string draft;

  result<models_in_use> get(const std::string& name) const {
    auto on = models->get(name);
    if (!on) return on.error();
    if (draft.empty() || draft == name) return models_in_use{*on, nullptr};
    return models_in_use{*on, models->get(draft)};
  }
};

struct prepared_answer {
  models_in_use by;
  asked_generation asked;
};

result<prepared_answer> prepare(const model_source& models, const generation_spec& spec) {
  auto by = models.get(spec.model);
  if (!by) return by.error();
  auto request = request_of(*by->on, spec);
  if (!request) return request.error();
  return prepared_answer{std::move(*by), std::move(*request)};
}

struct prepared_texts {
  models_in_use by;
  std::vector<model::embedding_request> texts;  // each can be begun
};

result<prepared_texts> prepare(const model_source& models, const embed& order) {
  auto by = models.get(order.model);
  if (!by) return by.error();
  const auto& config = by->on->weights->config();
  if (order.dimensions > config.dim)
    return error{
        errc::invalid_argument, fmt::format("vectors of this model have {} dimensions", config.dim)}
        .about("dimensions");
  prepared_texts made{std::move(*by), {}};
  for (const auto& text : order.texts) {
    auto& one = made.texts.emplace_back();
    one.tokens = made.by.on->vocabulary->encode_document(text);
    if (auto begun = model::embedding::begin(config, one); !begun) {
      if (begun.error().code == errc::unsupported) return begun.error().about("model");
      return begun.error().about(fmt::format("input[{}]", made.texts.size() - 1));
    }
  }
  return made;
}

// Who waits for something to send: one at most.
class waiter {
 public:
  void wait(runtime::resolver<bool> wake) { wake_ = std::move(wake); }
  void wake() {
    if (auto waiting = std::exchange(wake_, std::nullopt)) (*waiting)(true);
  }

 private:
  std::optional<runtime::resolver<bool>> wake_;
};

}  // namespace

// One sequence's place at a room's engine. Lives in its handler's frame; with it goes the sequence.
class inference::guest {
 public:
  // `patient`: it comes to the engine only while less than half of the queue is taken, so that a
  // long list of them neither fills it nor is refused.
  guest(std::shared_ptr<room> at, model::engine::work what, std::string owner, bool patient);
  guest(const guest&) = delete;
  guest& operator=(const guest&) = delete;
  virtual void hear(const model::engine::output& made, time_point now) = 0;
  virtual void fail(error why) = 0;

 protected:
  ~guest();
  const model::tokenizer& vocabulary() const;

 private:
  friend class room;
  std::shared_ptr<room> at_;
  std::optional<model::engine::work> to_add_;
  model::engine::sequence_id who_ = 0;  // once it is in the engine
  std::string owner_;
  bool patient_;
};

// One answer: what has been made of it and not been sent.
class inference::seat final : public guest {
 public:
  seat(
      std::shared_ptr<room> at, model::sequence answer, model::tool_call_reader reader,
      const generate& order);

  // Whether there is something to send; if not, whoever waits is woken when there is.
  bool has_piece(time_point now) const {
    return failed_ || !piece_.finish_reason.empty() || pending_bytes_ >= piece_bytes ||
           (stream_ && !(piece_.text.empty() && piece_.calls.empty()) &&
            now - sent_ >= stream_piece_every);
  }
  void wake_by(runtime::resolver<bool> wake) { asker_.wait(std::move(wake)); }
  piece take(time_point now) {
    if (failed_) throw failure(std::move(*failed_));
    sent_ = now;
    pending_bytes_ = 0;
    return std::exchange(piece_, {});
  }

  void hear(const model::engine::output& made, time_point now) override {
    take(reader_.add(made.delta.text));
    pending_bytes_ += made.delta.text.size();
    if (with_logprobs_ && !vocabulary().is_end(made.delta.token)) {
      piece_.logprobs.push_back(describe(vocabulary(), made.delta));
      pending_bytes_ += wire_bytes(piece_.logprobs.back());
    }
    if (made.reason != model::finish_reason::none) {
      take(reader_.finish());
      const bool stopped = made.reason == model::finish_reason::stop;
      piece_.finish_reason = stopped && called_ ? "tool_calls" : model::name(made.reason);
      piece_.prompt_tokens = made.usage.prompt_tokens;
      piece_.completion_tokens = made.usage.completion_tokens;
    }
    if (has_piece(now)) asker_.wake();
  }
  void fail(error why) override {
    failed_ = std::move(why);
    asker_.wake();
  }

 private:
  void take(model::tool_answer said) {
    piece_.text += said.content;
    for (auto& call : said.calls)
      if (!std::exchange(called_, true) || parallel_)
        piece_.calls.push_back(to_wire(std::move(call)));
  }

  model::tool_call_reader reader_;
  bool stream_, with_logprobs_, parallel_;
  bool called_ = false;
  actors::piece piece_;
  std::size_t pending_bytes_ = 0;
  time_point sent_{};  // the first piece goes at once
  std::optional<error> failed_;
  waiter asker_;
};

// Texts to embed: some at the engine, the others not there yet, so that a long list does not fill
// its queue.
class inference::text_batch {
 public:
  text_batch(
      std::shared_ptr<room> at, std::vector<model::embedding_request> texts, const embed& order)
      : at_(std::move(at)),
        texts_(std::move(texts)),
        owner_(order.owner),
        dimensions_(order.dimensions) {}
  text_batch(const text_batch&) = delete;
  text_batch& operator=(const text_batch&) = delete;

  // Lets more of them in; true: there were some.
  bool enter();
  bool has_vector() const { return failed_ || !made_.empty(); }
  void wake_by(runtime::resolver<bool> wake) { asker_.wait(std::move(wake)); }
  embedded take() {
    if (failed_) throw failure(std::move(*failed_));
    auto next = std::move(made_.back());
    made_.pop_back();
    inside_.erase(next.index);
    return next;
  }

 private:
  class text;

  std::shared_ptr<room> at_;
  std::vector<model::embedding_request> texts_;
  std::string owner_;
  std::size_t dimensions_;
  std::size_t next_ = 0;
  std::vector<embedded> made_;
  std::optional<error> failed_;
  waiter asker_;
  std::map<std::uint32_t, std::unique_ptr<text>> inside_;  // by index
};

class inference::text_batch::text final : public guest {
 public:
  text(text_batch& of, std::uint32_t index, model::embedding what)
      : guest(of.at_, std::move(what), of.owner_, true), of_(of), index_(index) {}
  void hear(const model::engine::output& made, time_point) override {
    if (!std::ranges::all_of(made.embedding, [](float x) { return std::isfinite(x); }))
      return fail({errc::corrupt, "the model makes no finite numbers of this text"});
    auto vector = of_.dimensions_ == 0 ? model::unit_vector(made.embedding)
                                       : model::shortened(made.embedding, of_.dimensions_).value();
    embedded one;
    one.index = index_;
    one.vector = std::move(vector);
    one.tokens = made.usage.prompt_tokens;
    of_.made_.push_back(std::move(one));
    of_.asker_.wake();
  }
  void fail(error why) override {
    of_.failed_ = std::move(why);
    of_.asker_.wake();
  }

 private:
  text_batch& of_;
  std::uint32_t index_;
};

struct inference::room_parts {
  std::shared_ptr<const loaded_model> on, draft;
  std::unique_ptr<model::engine> engine;
};

// A model's engine and the guests at it. While a step runs on its thread the engine is the step's:
// who comes or goes meanwhile is noted down.
class inference::room {
 public:
  // `waiting_max`: of the engine.
  room(room_parts of, std::size_t waiting_max)
      : on(std::move(of.on)),
        draft(std::move(of.draft)),
        engine_(std::move(of.engine)),
        waiting_max_(waiting_max) {}

  const std::shared_ptr<const loaded_model> on, draft;  // draft: null where none guesses
  bool running = false;                                 // it has a task that runs it
  bool to_release = false;                              // and one that waits for the end of its use
  time_point idle_since{};

  result<model::sequence> begin(model::generation_request request) const {
    return engine_->begin(std::move(request));
  }
  result<model::embedding> begin(model::embedding_request request) const {
    return engine_->begin(std::move(request));
  }
  void enter(guest& one) { arriving_.push_back(&one); }
  void leave(guest& one) noexcept {
    std::erase(arriving_, &one);
    if (guests_.erase(one.who_) == 0) return;
    if (stepping_)
      leaving_.push_back(one.who_);
    else
      engine_->cancel(one.who_);
  }

  // Before a step: false: there is nothing to do.
  bool open() {
    for (const auto who : std::exchange(leaving_, {})) engine_->cancel(who);
    for (auto* one : std::exchange(arriving_, {})) {
      if (one->patient_ && engine_->load().waiting >= (waiting_max_ + 1) / 2) {
        arriving_.push_back(one);
        continue;
      }
      const auto who = engine_->add(std::move(*one->to_add_), one->owner_);
      one->to_add_.reset();
      if (!who) {
        one->fail(who.error());
        continue;
      }
      one->who_ = *who;
      guests_.emplace(*who, one);
    }
    return stepping_ = !engine_->idle();
  }
  // On the thread.
  void step(kernels::thread_pool& compute) { made_ = engine_->step(compute); }
  void close(time_point now) {
    stepping_ = false;
    for (const auto& made : made_)
      if (const auto found = guests_.find(made.who); found != guests_.end()) {
        auto* one = found->second;
        if (made.reason != model::finish_reason::none) guests_.erase(found);
        one->hear(made, now);
      }
  }
  // The engine is of no use any more; who comes later hears of it too.
  const std::optional<error>& broken() const { return broken_; }
  void fail(const error& why) {
    broken_ = why;
    for (auto& [who, one] : std::exchange(guests_, {})) one->fail(why);
    for (auto* one : std::exchange(arriving_, {})) one->fail(why);
  }

 private:
  std::unique_ptr<model::engine> engine_;
  std::size_t waiting_max_;
  std::optional<error> broken_;
  std::map<model::engine::sequence_id, guest*> guests_;
  std::vector<guest*> arriving_;
  std::vector<model::engine::sequence_id> leaving_;
  std::span<const model::engine::output> made_;
  bool stepping_ = false;
};

inference::guest::guest(
    std::shared_ptr<room> at, model::engine::work what, std::string owner, bool patient)
    : at_(std::move(at)), to_add_(std::move(what)), owner_(std::move(owner)), patient_(patient) {
  at_->enter(*this);
}
inference::guest::~guest() { at_->leave(*this); }
const model::tokenizer& inference::guest::vocabulary() const { return *at_->on->vocabulary; }

inference::seat::seat(
    std::shared_ptr<room> at, model::sequence answer, model::tool_call_reader reader,
    const generate& order)
    : guest(std::move(at), std::move(answer), order.owner, false),
      reader_(std::move(reader)),
      stream_(order.stream),
      with_logprobs_(order.spec.logprobs >= 0),
      parallel_(order.spec.offer.parallel) {}

bool inference::text_batch::enter() {
  bool any = false;
  for (; next_ < texts_.size() && inside_.size() < texts_at_once; ++next_, any = true) {
    const auto index = static_cast<std::uint32_t>(next_);
    auto begun = at_->begin(std::move(texts_[next_])).value();
    inside_.emplace(index, std::make_unique<text>(*this, index, std::move(begun)));
  }
  return any;
}

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

inference::behavior_type inference::make_behavior() {
  return {serve(&inference::answer), serve(&inference::embed_texts)};
}

template <class T>
runtime::task<result<T>> inference::prepared(std::function<result<T>()> work) {
  auto made = co_await runtime::offload(this, *preparing_, work);
  if (!made && made.error().code == errc::resource_exhausted && leave_idle_rooms())
    made = co_await runtime::offload(this, *preparing_, work);
  co_return made;
}

runtime::stream<piece> inference::answer(generate order) {
  std::function<result<prepared_answer>()> work = [models = model_source{models_, options_.draft},
                                                   spec = order.spec] {
    return prepare(models, spec);
  };
  auto asked = co_await prepared(work);
  if (!asked) throw failure(asked.error());
  auto at = room_for(asked->by);
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

runtime::stream<embedded> inference::embed_texts(embed order) {
  std::function<result<prepared_texts>()> work = [models = model_source{models_, options_.draft},
                                                  order] { return prepare(models, order); };
  auto asked = co_await prepared(work);
  if (!asked) throw failure(asked.error());
  auto at = room_for(asked->by);
  text_batch mine{at, std::move(asked->texts), order};
  for (auto left = order.texts.size(); left > 0; --left) {
    if (mine.enter()) keep_going(at);
    if (!mine.has_vector()) {
      auto keep = [&mine](runtime::resolver<bool> wake) { mine.wake_by(std::move(wake)); };
      co_await runtime::completion<bool>(this, keep);
    }
    auto next = mine.take();
    co_yield std::move(next);
  }
}

// An engine for a model, with one that guesses for it where that can be had.
result<inference::room_parts> inference::equip(models_in_use by) const {
  const auto& on = *by.on;
  auto why = by.draft ? std::optional<error>{} : by.draft.error();
  if (by.draft && *by.draft != nullptr) {
    const auto& guesses = **by.draft;
    auto made = model::engine::make(
        on.weights, on.vocabulary, options_.limits,
        model::draft_model{guesses.weights, guesses.vocabulary});
    if (made) return room_parts{by.on, *by.draft, std::move(*made)};
    why = made.error();
  }
  if (why)
    base::log_warning(
        "inference", "{} answers without the draft model {}: {}", on.from.name, options_.draft,
        why->text());
  auto made = model::engine::make(on.weights, on.vocabulary, options_.limits);
  if (!made) return made.error();
  return room_parts{by.on, nullptr, std::move(*made)};
}

std::shared_ptr<inference::room> inference::room_for(models_in_use by) {
  const auto* key = by.on.get();
  if (const auto found = rooms_.find(key); found != rooms_.end()) return found->second;
  auto parts = equip(std::move(by));
  if (!parts) throw failure(parts.error());
  leave_idle_rooms();  // their caches make room for the new one's
  return rooms_[key] = std::make_shared<room>(std::move(*parts), options_.limits.waiting_max);
}

// An idle room keeps its model in use. One with guests who wait for their askers is not idle.
bool inference::leave_idle_rooms() {
  const auto idle = [](const auto& one) {
    return one.second && !one.second->running && one.second.use_count() == 1;
  };
  return std::erase_if(rooms_, idle) > 0;
}

void inference::keep_going(const std::shared_ptr<room>& at) {
  if (at->broken()) return at->fail(error{*at->broken()});
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
    if (const auto found = rooms_.find(at->on.get()); found != rooms_.end() && found->second == at)
      rooms_.erase(found);
  } else if (!std::exchange(at->to_release, true)) {
    tasks().spawn(release_when_idle(at));
  }
}

runtime::task<> inference::release_when_idle(std::weak_ptr<room> which) {
  auto pause = options_.keep_idle;
  for (;;) {
    co_await runtime::sleep(this, pause);
    auto at = which.lock();
    if (!at) co_return;                                     // it has made room for another
    const bool in_use = at->running || at.use_count() > 2;  // rooms_ and this
    const auto idle = in_use ? std::chrono::nanoseconds{} : clock().now() - at->idle_since;
    if (idle < options_.keep_idle) {
      pause = options_.keep_idle - idle;
      continue;
    }
    const auto on = at->on, draft = at->draft;
    rooms_.erase(on.get());
    at = nullptr;
    models_->release(on);
    if (draft) models_->release(draft);
    base::log_info("inference", "released {}: nobody asked for it", on->from.name);
    co_return;
  }
}

}  // namespace dlls::actors

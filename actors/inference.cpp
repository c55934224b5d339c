#include "actors/inference.hpp"

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
  tokens piece;  // not yet sent
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

class inference::seat {
 public:
  seat(inference& of, generation_id id) : of_(of), id_(id) { of_.places_[id]; }
  ~seat() { of_.leave(id_); }
  seat(const seat&) = delete;
  seat& operator=(const seat&) = delete;

 private:
  inference& of_;
  generation_id id_;
};

inference::inference(
    caf::actor_config& config, std::shared_ptr<model_cache> models,
    std::shared_ptr<kernels::thread_pool> compute, std::shared_ptr<runtime::worker_pool> thread)
    : co_actor(config),
      models_(std::move(models)),
      compute_(std::move(compute)),
      thread_(std::move(thread)) {}

inference::behavior_type inference::make_behavior() {
  return {serve(&inference::answer), serve(&inference::stop), serve(&inference::stop_all)};
}

void inference::stop(session_stop order) { stop_one(order.which); }

void inference::stop_all(session_ended order) {
  for (const auto& [id, at] : places_)
    if (id.session == order.session) stop_one(id);
}

// One that runs ends after its step, one that waits at once.
void inference::stop_one(generation_id id) {
  const auto found = places_.find(id);
  if (found == places_.end()) return;
  found->second.stopped = true;
  if (found->second.running) return;
  std::erase(waiting_, id);
  if (auto waiting = std::exchange(found->second.wake, std::nullopt)) (*waiting)(true);
}

// Whoever has waited longest gets the place of one that ran.
void inference::leave(generation_id id) {
  const auto gone = places_.extract(id);
  if (!gone.mapped().running) {
    std::erase(waiting_, id);
    return;
  }
  --running_;
  if (waiting_.empty()) return;
  auto& next = places_.at(waiting_.front());
  waiting_.pop_front();
  next.running = true;
  ++running_;
  if (auto waiting = std::exchange(next.wake, std::nullopt)) (*waiting)(true);
}

runtime::task<generated> inference::answer(session_generate order) {
  auto listener = caf::actor_cast<tokens_listener>(current_sender());
  const auto& request = order.said;
  const generation_id id{order.session, request.request};
  const bool full = running_ >= generations_max;
  if (full && waiting_.size() >= generations_waiting_max)
    throw failure(error{
        errc::resource_exhausted, "the node is answering as many prompts as it can",
        "try again in a few seconds"});
  if (places_.contains(id))
    throw failure(error{errc::already_exists, "a generation of that number is running"});
  const seat taken{*this, id};
  auto& at = places_.at(id);
  if (full) {
    waiting_.push_back(id);
    auto keep = [&at](runtime::resolver<bool> wake) { at.wake = std::move(wake); };
    co_await runtime::completion<bool>(this, keep);
  } else {
    at.running = true;
    ++running_;
  }
  generated end;
  end.finish_reason = "cancelled";
  if (at.stopped) co_return end;
  auto models = models_;
  auto compute = compute_;
  auto start = [models, spec = request.spec] { return begin(*models, spec); };
  auto begun = co_await runtime::offload(this, *thread_, start);
  if (!begun) throw failure(begun.error());
  auto work = *begun;
  auto one_step = [work, compute] { step(*work, *compute); };
  auto sent = clock::time_point{};  // the first piece goes at once
  while (!work->made.finished() && !at.stopped) {
    co_await runtime::offload(this, *thread_, one_step);
    const auto now = clock::now();
    if (request.stream && listener && !work->piece.text.empty() &&
        now - sent >= stream_piece_every) {
      work->piece.request = id.request;
      send(listener, session_tokens{id.session, std::move(work->piece)});
      work->piece = {};
      sent = now;
    }
  }
  const auto usage = work->made.usage();
  end.text = std::move(work->piece.text);
  end.logprobs = std::move(work->piece.logprobs);
  if (work->made.finished()) end.finish_reason = std::string{model::name(work->made.reason())};
  end.prompt_tokens = usage.prompt_tokens;
  end.completion_tokens = usage.completion_tokens;
  co_return end;
}

}  // namespace dlls::actors

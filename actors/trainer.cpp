#include "actors/trainer.hpp"

#include <chrono>
#include <utility>

#include "actors/seal.hpp"
#include "base/log.hpp"

namespace dlls::actors {
using base::errc;
using base::error;
using base::failure;
using base::result;

namespace {

constexpr auto progress_every = std::chrono::milliseconds{200};

progress to_message(const job_ref& job, const run_progress& now) {
  progress told;
  told.job = job;
  told.step = now.step;
  told.steps_total = now.steps_total;
  told.loss = now.loss;
  told.seconds_left = now.seconds_left;
  return told;
}

error was_cancelled() { return {errc::cancelled, "the job was cancelled"}; }

// Short steps are taken together, so that the hops between threads cost nothing. True when the run
// is done.
result<bool> take_steps(job_run& run, const std::stop_token& abandoned) {
  const auto begun = std::chrono::steady_clock::now();
  while (!run.done()) {
    if (abandoned.stop_requested()) return was_cancelled();
    if (auto one = run.step(); !one) return one.error();
    if (std::chrono::steady_clock::now() - begun >= progress_every) break;
  }
  return run.done();
}

// A run that may be abandoned, until its coroutine ends.
class working_guard {
 public:
  using books = std::map<std::pair<std::string, std::uint64_t>, std::stop_source>;
  working_guard(books& all, books::key_type key) : all_(all), key_(std::move(key)) {
    all_[key_] = std::stop_source{};
  }
  ~working_guard() { all_.erase(key_); }
  working_guard(const working_guard&) = delete;
  working_guard& operator=(const working_guard&) = delete;
  std::stop_token token() const { return all_.at(key_).get_token(); }

 private:
  books& all_;
  books::key_type key_;
};

}  // namespace

trainer::trainer(caf::actor_config& config, trainer_services services)
    : co_actor(config), services_(std::move(services)) {}

trainer::behavior_type trainer::make_behavior() {
  return {serve(&trainer::work), serve(&trainer::give_up)};
}

void trainer::give_up(abandon which) {
  const auto found = working_.find({which.job.id, which.job.fence});
  if (found != working_.end()) found->second.request_stop();
}

runtime::task<manifest> trainer::work(work_order order) {
  auto listener = caf::actor_cast<progress_listener>(current_sender());
  const auto job = order.job;
  const working_guard mark{working_, {job.id, job.fence}};
  const auto abandoned = mark.token();
  auto services = services_;
  auto start = [services, order] {
    return start_run(order, {*services.models, *services.cache, *services.compute});
  };
  auto started = co_await runtime::offload(this, *services_.thread, start);
  if (!started) throw failure(started.error());
  std::shared_ptr<job_run> run = std::move(*started);
  auto steps = [run, abandoned] { return take_steps(*run, abandoned); };
  auto told = std::chrono::steady_clock::time_point{};
  bool done = run->done();
  while (!done) {
    if (abandoned.stop_requested()) throw failure(was_cancelled());
    auto stepped = co_await runtime::offload(this, *services_.thread, steps);
    if (!stepped) throw failure(stepped.error());
    done = *stepped;
    const auto now = std::chrono::steady_clock::now();
    if (listener && (done || now - told >= progress_every)) {
      send(listener, to_message(job, run->progress()));
      told = now;
    }
  }
  auto seal = [run, services, job, abandoned]() -> result<manifest> {
    if (abandoned.stop_requested()) return was_cancelled();
    auto finished = run->finish();
    if (!finished) return finished.error();
    return seal_result(std::move(*finished), job, *services.models, *services.artifacts, abandoned);
  };
  auto sealed = co_await runtime::offload(this, *services_.thread, seal);
  if (!sealed) throw failure(sealed.error());
  co_return std::move(*sealed);
}

}  // namespace dlls::actors

#include "actors/trainer.hpp"

#include <chrono>

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

// Short steps are taken together, so that the hops between threads cost nothing. True when the run
// is done.
result<bool> take_steps(job_run& run) {
  const auto begun = std::chrono::steady_clock::now();
  while (!run.done()) {
    if (auto one = run.step(); !one) return one.error();
    if (std::chrono::steady_clock::now() - begun >= progress_every) break;
  }
  return run.done();
}

}  // namespace

trainer::trainer(caf::actor_config& config, trainer_services services)
    : co_actor(config), services_(std::move(services)) {}

trainer::behavior_type trainer::make_behavior() {
  return {serve(&trainer::work), serve(&trainer::give_up)};
}

void trainer::give_up(abandon which) { abandoned_.emplace(which.job.id, which.job.fence); }

runtime::task<manifest> trainer::work(work_order order) {
  auto listener = caf::actor_cast<progress_listener>(current_sender());
  const auto job = order.job;
  const auto key = std::pair{job.id, job.fence};
  abandoned_.erase(key);
  auto services = services_;
  auto start = [services, order] {
    return start_run(order, {*services.models, *services.cache, *services.compute});
  };
  auto started = co_await runtime::offload(this, *services_.thread, start);
  if (!started) throw failure(started.error());
  std::shared_ptr<job_run> run = std::move(*started);
  auto steps = [run] { return take_steps(*run); };
  auto told = std::chrono::steady_clock::time_point{};
  bool done = run->done();
  while (!done) {
    if (abandoned_.erase(key)) throw failure(error{errc::cancelled, "the job was cancelled"});
    auto stepped = co_await runtime::offload(this, *services_.thread, steps);
    if (!stepped) throw failure(stepped.error());
    done = *stepped;
    const auto now = std::chrono::steady_clock::now();
    if (listener && (done || now - told >= progress_every)) {
      send(listener, to_message(job, run->progress()));
      told = now;
    }
  }
  auto seal = [run, services, job]() -> result<manifest> {
    auto finished = run->finish();
    if (!finished) return finished.error();
    return seal_result(std::move(*finished), job, *services.models, *services.artifacts);
  };
  auto sealed = co_await runtime::offload(this, *services_.thread, seal);
  abandoned_.erase(key);
  if (!sealed) throw failure(sealed.error());
  co_return std::move(*sealed);
}

}  // namespace dlls::actors

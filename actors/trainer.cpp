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

// What the disk refuses today may work tomorrow: the node tries again. All else ends the job.
manifest value_or_throw(result<manifest> sealed) {
  if (!sealed) throw failure(sealed.error());
  return std::move(*sealed);
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
  auto started = co_await runtime::offload(this, *services_.thread, [services, order] {
    return start_run(order, {*services.models, *services.cache, *services.compute});
  });
  if (!started) throw failure(started.error());
  std::shared_ptr<job_run> run = std::move(*started);
  auto told = std::chrono::steady_clock::time_point{};
  bool done = run->done();
  while (!done) {
    if (abandoned_.erase(key)) throw failure(error{errc::cancelled, "the job was cancelled"});
    // Short steps are taken together, so that the hops between threads cost nothing.
    auto stepped = co_await runtime::offload(this, *services_.thread, [run]() -> result<bool> {
      const auto begun = std::chrono::steady_clock::now();
      do {
        if (auto one = run->step(); !one) return one.error();
      } while (!run->done() && std::chrono::steady_clock::now() - begun < progress_every);
      return run->done();
    });
    if (!stepped) throw failure(stepped.error());
    done = *stepped;
    const auto now = std::chrono::steady_clock::now();
    if (listener && (done || now - told >= progress_every)) {
      send(listener, to_message(job, run->progress()));
      told = now;
    }
  }
  auto sealed = co_await runtime::offload(this, *services_.thread, [run, services, job]() -> result<manifest> {
    auto finished = run->finish();
    if (!finished) return finished.error();
    return seal_result(std::move(*finished), job, *services.models, *services.artifacts);
  });
  abandoned_.erase(key);
  co_return value_or_throw(std::move(sealed));
}

}  // namespace dlls::actors

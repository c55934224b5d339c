#include "runtime/worker_pool.hpp"

#include <fmt/core.h>
#include <pthread.h>

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "base/check.hpp"

namespace dlls::runtime {

struct worker_pool::state {
  explicit state(options o) : limits(std::move(o)) {}

  void work() {
    pthread_setname_np(pthread_self(), limits.name.substr(0, 15).c_str());
    for (;;) {
      std::unique_lock lock{mutex};
      arrived.wait(lock, [&] { return closing || !queue.empty(); });
      if (closing) return;
      auto job = std::move(queue.front());
      queue.pop_front();
      lock.unlock();
      run(job);
    }
  }
  static void run(const std::function<void()>& job) noexcept { job(); }

  const options limits;
  mutable std::mutex mutex;
  std::condition_variable arrived;
  std::deque<std::function<void()>> queue;
  bool closing = false;
  std::vector<std::thread> threads;
};

worker_pool::worker_pool(options o) : state_(std::make_unique<state>(std::move(o))) {
  base::check(state_->limits.threads > 0, "a worker pool needs a thread");
  for (std::size_t i = 0; i < state_->limits.threads; ++i) {
    state_->threads.emplace_back([s = state_.get()] { s->work(); });
  }
}

worker_pool::~worker_pool() {
  std::deque<std::function<void()>> dropped;
  {
    const std::scoped_lock lock{state_->mutex};
    state_->closing = true;
    dropped.swap(state_->queue);
  }
  state_->arrived.notify_all();
  // Outside of the lock: a job's destructor may do anything.
  dropped.clear();
  for (auto& thread : state_->threads) thread.join();
}

base::result<> worker_pool::submit(std::function<void()> job) {
  {
    const std::scoped_lock lock{state_->mutex};
    if (state_->closing) {
      return base::error{base::errc::cancelled, fmt::format("{} is closing", state_->limits.name)};
    }
    if (state_->queue.size() >= state_->limits.queued_max) {
      return base::error{
          base::errc::resource_exhausted,
          fmt::format("{}: {} jobs are waiting", state_->limits.name, state_->queue.size()),
          "try again later"};
    }
    state_->queue.push_back(std::move(job));
  }
  state_->arrived.notify_one();
  return {};
}

std::size_t worker_pool::threads() const noexcept { return state_->threads.size(); }

std::size_t worker_pool::queued() const {
  const std::scoped_lock lock{state_->mutex};
  return state_->queue.size();
}

}  // namespace dlls::runtime

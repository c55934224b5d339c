// Threads of our own for work that blocks or computes for long, so that CAF's few workers never do.
#pragma once
#include <cstddef>
#include <functional>
#include <memory>
#include <string>

#include "base/error.hpp"

namespace dlls::runtime {

// Thread-safe. First in, first out; the queue is bounded.
class worker_pool {
 public:
  struct options {
    std::size_t threads = 1;
    std::size_t queued_max = 1024;  // jobs waiting; running ones not counted
    std::string name = "worker";    // of the threads, up to 15 characters
  };

  explicit worker_pool(options o);
  // Jobs not begun are dropped (destroyed unrun); running ones are waited for.
  ~worker_pool();
  worker_pool(const worker_pool&) = delete;
  worker_pool& operator=(const worker_pool&) = delete;

  // resource_exhausted when the queue is full, cancelled when the pool is closing; the job is then
  // destroyed. An exception out of a job is a bug and ends the process.
  base::result<> submit(std::function<void()> job);

  std::size_t threads() const noexcept;
  std::size_t queued() const;

 private:
  struct state;
  std::unique_ptr<state> state_;
};

}  // namespace dlls::runtime

#include "runtime/detail/run_loop.hpp"

#include <utility>

#include "base/check.hpp"
#include "runtime/task.hpp"

namespace dlls::runtime::detail {
namespace {

thread_local run_loop* current_loop = nullptr;

}  // namespace

void finish(job& root) noexcept { root.finished(); }

void ready_node::suspend(std::coroutine_handle<> waiting) noexcept {
  resume_point = waiting;
  owner = run_loop::current().current_job();
}

void quiet_wait::suspend(std::coroutine_handle<> waiting, time_point now) noexcept {
  ready_node::suspend(waiting);
  since = now;
  if (owner) owner->begin(now);
  run_loop::current().quiet_.push_back(*this);
}

frame_cache* current_frame_cache() noexcept {
  return current_loop ? &current_loop->frames_ : nullptr;
}

run_loop::turn::turn(run_loop& loop) noexcept : outer_(std::exchange(current_loop, &loop)) {}
run_loop::turn::~turn() { current_loop = outer_; }

void run_loop::run() noexcept {
  if (running_) return;
  running_ = true;
  const turn ours{*this};
  for (;;) {
    if (auto* ended = retired_.pop_front()) {
      static_cast<job*>(ended)->retired();
    } else if (auto* c = chores_.pop_front()) {
      c->perform();
    } else if (auto* node = ready_.pop_front()) {
      current_job_ = node->owner;
      node->resume_point.resume();
      current_job_ = nullptr;
    } else {
      break;
    }
  }
  running_ = false;
}

run_loop& run_loop::current() noexcept {
  base::check(current_loop != nullptr, "awaited outside of an actor's coroutine");
  return *current_loop;
}

}  // namespace dlls::runtime::detail

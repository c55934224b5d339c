#include "runtime/detail/run_loop.hpp"

#include <utility>

#include "base/check.hpp"
#include "runtime/task.hpp"

namespace dlls::runtime::detail {
namespace {

thread_local run_loop* current_loop = nullptr;

}  // namespace

void finish(job& root) noexcept { root.finished(); }

void run_loop::run() noexcept {
  if (running_) return;
  running_ = true;
  auto* outer = std::exchange(current_loop, this);
  for (;;) {
    if (auto* c = chores_.pop_front()) {
      c->perform();
    } else if (auto* node = ready_.pop_front()) {
      node->resume_point.resume();
    } else {
      break;
    }
  }
  current_loop = outer;
  running_ = false;
}

run_loop& run_loop::current() noexcept {
  base::check(current_loop != nullptr, "awaited outside of an actor's coroutine");
  return *current_loop;
}

}  // namespace dlls::runtime::detail

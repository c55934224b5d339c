// Blocking or long work on a pool's thread, awaited.
//
//   auto digest = co_await offload(this, pool, [path] { return base::sha256_file(path); });
//
// The function must not touch the actor: capture by value. What it returns (a base::result too) is
// the await's value; what it throws is rethrown at the await. resource_exhausted when the pool's
// queue is full, cancelled when the pool closes before the work began. When the waiting coroutine is
// cancelled, work not yet begun is skipped, and work that runs is not interrupted: its result is
// dropped. The pool must outlive the actor.
#pragma once
#include <memory>
#include <type_traits>
#include <utility>

#include "runtime/completion.hpp"
#include "runtime/worker_pool.hpp"

namespace dlls::runtime {

namespace detail {

// Lets the worker see whether anybody still waits: alive as long as the coroutine is.
template <class Function, class R = std::invoke_result_t<Function&>>
class offload_start {
 public:
  offload_start(worker_pool& pool, Function function)
      : pool_(pool), function_(std::make_shared<Function>(std::move(function))) {}

  void operator()(resolver<R> done) {
    // The pool's job holds the function weakly: gone with the waiting coroutine, it is skipped.
    auto queued = pool_.submit([done, work = std::weak_ptr<Function>{function_}] {
      const auto function = work.lock();
      if (!function) return;
      run(done, *function);
    });
    if (!queued) refuse(done, queued.error());
  }

 private:
  static void run(const resolver<R>& done, Function& function) noexcept {
    try {
      if constexpr (std::is_void_v<R>) {
        function();
        done();
      } else {
        done(function());
      }
    } catch (...) {
      done.fail(std::current_exception());
    }
  }
  static void refuse(const resolver<R>& done, const base::error& why) {
    done.fail(std::make_exception_ptr(base::failure(why)));
  }

  worker_pool& pool_;
  std::shared_ptr<Function> function_;
};

}  // namespace detail

template <class Self, class Function>
auto offload(Self* self, worker_pool& pool, Function function) {
  using R = std::invoke_result_t<Function&>;
  return completion<R>(self, detail::offload_start<Function>(pool, std::move(function)));
}

}  // namespace dlls::runtime

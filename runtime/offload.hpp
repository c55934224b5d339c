// Blocking or long work on a pool's thread, awaited.
//
//   auto work = [path] { return base::sha256_file(path); };
//   auto digest = co_await offload(this, pool, work);          // or take(work), to move it
//
// Name the function first unless it captures nothing but numbers and pointers: a closure that owns
// something must not be a temporary inside co_await (detail/temporary.hpp; it does not compile).
// The function must not touch the actor: capture by value. What it returns (a base::result too) is
// the await's value; what it throws is rethrown at the await. resource_exhausted when the pool's
// queue is full, cancelled when the pool closes before the work began. When the waiting coroutine
// is cancelled, work not yet begun is skipped, and work that runs is not interrupted: its result is
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
  static constexpr auto what = "work on a thread of a pool";
  offload_start(worker_pool& pool, Function function)
      : pool_(pool), function_(std::make_shared<Function>(std::move(function))) {}

  void operator()(resolver<R> done) {
    // The pool's job holds the function weakly: gone with the waiting coroutine, it is skipped.
    auto queued = pool_.submit([done, work = std::weak_ptr<Function>{function_}] {
      if (auto function = work.lock()) run(done, std::move(function));
    });
    if (!queued) refuse(done, queued.error());
  }

 private:
  // What the function captured dies before the coroutine goes on.
  static void run(const resolver<R>& done, std::shared_ptr<Function> function) noexcept {
    try {
      if constexpr (std::is_void_v<R>) {
        (*function)();
        function.reset();
        done();
      } else {
        auto value = (*function)();
        function.reset();
        done(std::move(value));
      }
    } catch (...) {
      function.reset();
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
auto offload(Self* self, worker_pool& pool, Function&& function) {
  static_assert(
      detail::safe_function<Function>,
      "name this function before the co_await: `auto work = [...]; co_await offload(.., work)`");
  using owned = detail::owned_function<Function>;
  using R = std::invoke_result_t<owned&>;
  return completion<R>(
      self, detail::direct,
      detail::offload_start<owned>(pool, detail::own(std::forward<Function>(function))));
}

}  // namespace dlls::runtime

// task<T>: the coroutine type of this library.
//
//   task<int> twice(task<int> t) { co_return 2 * co_await std::move(t); }
//
// Lazy: nothing runs before somebody awaits it (or hands it to a scope, to gather or, as a
// handler's result, to its actor). Single-owner: movable, and destroying it destroys the frame with
// all its locals, which is also how a task is cancelled: at its await, by destructors, with no
// exception thrown into it.
//
// Awaiting uses symmetric transfer: in an optimised build (-O2), completing tasks costs no stack, a
// million in a row or inside one another. At -O0 and with a sanitizer GCC makes calls of the
// transfers: what is awaited without anything suspending, and the depth of nested tasks, are safe
// up to 20,000 at -O0 and 2,500 with a sanitizer, on 8 MiB of stack. Destroying a suspended chain
// recurses in every build: safe up to 80,000 tasks deep when optimised, else as above
// (tests/runtime/limits_test.cpp).
//
// A task runs on the turns of one actor and never on another thread; it must be created, awaited
// and destroyed there. Results and exceptions travel to whoever awaits it, once.
//
// Rules for who writes coroutines: parameters by value (references dangle across a suspension), and
// no capturing lambda is a coroutine (its captures die with the lambda).
#pragma once
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <type_traits>
#include <utility>
#include <variant>

#include "runtime/detail/frames.hpp"

namespace dlls::runtime {

template <class T = void>
class task;

namespace detail {

class job;
// Called by the task's last suspension; the frame must not be destroyed before this returns.
void finish(job& root) noexcept;

class promise_base {
 public:
  void* operator new(std::size_t bytes) { return allocate_frame(bytes); }
  void operator delete(void* frame, std::size_t bytes) noexcept { release_frame(frame, bytes); }

  std::suspend_always initial_suspend() noexcept { return {}; }
  struct final_awaiter {
    bool await_ready() noexcept { return false; }
    template <class Promise>
    std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> frame) noexcept {
      promise_base& promise = frame.promise();
      if (auto* root = promise.root()) {
        finish(*root);
        return std::noop_coroutine();
      }
      return std::coroutine_handle<>::from_address(reinterpret_cast<void*>(promise.next_));
    }
    void await_resume() noexcept {}
  };
  final_awaiter final_suspend() noexcept { return {}; }

  // Who awaits this task; or the job that it is, when nobody does (run_loop.hpp).
  void continue_with(std::coroutine_handle<> caller) noexcept {
    next_ = reinterpret_cast<std::uintptr_t>(caller.address());
  }
  void set_root(job& root) noexcept { next_ = reinterpret_cast<std::uintptr_t>(&root) | is_root; }
  job* root() const noexcept {
    return next_ & is_root ? reinterpret_cast<job*>(next_ & ~is_root) : nullptr;
  }

 private:
  // Frames and jobs are aligned: their lowest bit is free.
  static constexpr std::uintptr_t is_root = 1;
  std::uintptr_t next_ = 0;
};

template <class T>
class promise final : public promise_base {
 public:
  static_assert(std::is_object_v<T>, "a task's result is a value, not a reference");
  task<T> get_return_object() noexcept;
  template <class U>
  void return_value(U&& value) {
    result_.template emplace<1>(std::forward<U>(value));
  }
  void unhandled_exception() noexcept { result_.template emplace<2>(std::current_exception()); }
  // Rethrows what the coroutine threw. Once, after it has finished.
  T take() {
    if (auto* thrown = std::get_if<2>(&result_)) std::rethrow_exception(std::move(*thrown));
    return std::move(std::get<1>(result_));
  }
  bool failed() const noexcept { return result_.index() == 2; }

 private:
  std::variant<std::monostate, T, std::exception_ptr> result_;
};

template <>
class promise<void> final : public promise_base {
 public:
  task<void> get_return_object() noexcept;
  void return_void() noexcept {}
  void unhandled_exception() noexcept { thrown_ = std::current_exception(); }
  void take() {
    if (thrown_) std::rethrow_exception(std::move(thrown_));
  }
  bool failed() const noexcept { return thrown_ != nullptr; }

 private:
  std::exception_ptr thrown_;
};

}  // namespace detail

template <class T>
class [[nodiscard]] task {
 public:
  using value_type = T;
  static constexpr bool is_stream = false;
  using promise_type = detail::promise<T>;
  using frame_handle = std::coroutine_handle<promise_type>;

  task() noexcept = default;  // empty: may only be assigned to or destroyed
  explicit task(frame_handle frame) noexcept : frame_(frame) {}
  task(task&& other) noexcept : frame_(std::exchange(other.frame_, nullptr)) {}
  task& operator=(task&& other) noexcept {
    if (this != &other) {
      reset();
      frame_ = std::exchange(other.frame_, nullptr);
    }
    return *this;
  }
  ~task() { reset(); }

  explicit operator bool() const noexcept { return frame_ != nullptr; }
  bool done() const noexcept { return frame_ && frame_.done(); }
  // Destroys the frame: cancels the task.
  void reset() noexcept {
    if (frame_) std::exchange(frame_, nullptr).destroy();
  }

  // Starts the task; resumes the awaiting coroutine when it has finished.
  auto operator co_await() && noexcept {
    struct awaiter {
      frame_handle frame;
      bool await_ready() noexcept { return false; }
      std::coroutine_handle<> await_suspend(std::coroutine_handle<> caller) noexcept {
        frame.promise().continue_with(caller);
        return frame;
      }
      T await_resume() { return frame.promise().take(); }
    };
    return awaiter{frame_};
  }

  // For the runtime itself: the frame, still owned by this task.
  frame_handle frame() const noexcept { return frame_; }
  frame_handle release() noexcept { return std::exchange(frame_, nullptr); }

 private:
  frame_handle frame_;
};

namespace detail {

template <class T>
task<T> promise<T>::get_return_object() noexcept {
  return task<T>{std::coroutine_handle<promise>::from_promise(*this)};
}
inline task<void> promise<void>::get_return_object() noexcept {
  return task<void>{std::coroutine_handle<promise>::from_promise(*this)};
}

}  // namespace detail
}  // namespace dlls::runtime

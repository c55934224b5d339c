// stream<T>: a handler that answers with many values, at the pace of whoever takes them.
//
//   runtime::stream<line> read(path p) {
//     file f{p};
//     while (auto text = co_await next_line(f)) co_yield line{*text};   // line has a constructor
//   }
//   ... behavior_type make_behavior() override { return {serve(&reader::read)}; }
//   // interface: caf::replies_to<path>::with<runtime::part<line>>
//
// Each `co_yield` sends one value, as a part<T>, when the subscriber (subscribe.hpp) has room for
// it, and suspends until then; so memory is bounded by what the subscriber granted, on both sides
// and across nodes. The end of the coroutine ends the stream, what it throws fails it. When the
// subscriber cancels, ends, or is lost with its node, the coroutine is destroyed at its co_yield or
// co_await, like a task. A stream is not awaited nor spawned, only returned by a handler; it is
// always `attached`. Its request is served by the actor that was asked, at once: credit comes to
// that one, so it can't be delegated, nor wait in a cache of CAF's (skip, await). Parameters by
// value, no capturing lambdas, as for tasks.
#pragma once
#include <concepts>
#include <coroutine>
#include <exception>
#include <utility>

#include "runtime/detail/core.hpp"
#include "runtime/detail/temporary.hpp"
#include "runtime/part.hpp"
#include "runtime/task.hpp"

namespace dlls::runtime {

template <class T>
class [[nodiscard]] stream {
 public:
  using value_type = T;
  static constexpr bool is_stream = true;
  class promise_type;
  using frame_handle = std::coroutine_handle<promise_type>;

  stream() noexcept = default;  // empty: may only be assigned to or destroyed
  explicit stream(frame_handle frame) noexcept : frame_(frame) {}
  stream(stream&& other) noexcept : frame_(std::exchange(other.frame_, nullptr)) {}
  stream& operator=(stream&& other) noexcept {
    if (this != &other) {
      if (frame_) frame_.destroy();
      frame_ = std::exchange(other.frame_, nullptr);
    }
    return *this;
  }
  ~stream() {
    if (frame_) frame_.destroy();
  }

  // For the runtime itself: the frame, still owned by this stream.
  frame_handle frame() const noexcept { return frame_; }
  frame_handle release() noexcept { return std::exchange(frame_, nullptr); }

 private:
  frame_handle frame_;
};

template <class T>
class stream<T>::promise_type final : public detail::promise_base {
 public:
  class [[nodiscard]] yield_awaiter final : public detail::ready_node {
   public:
    yield_awaiter(detail::handler_job& of, T value) : handler_(of), value_(std::move(value)) {}
    bool await_ready() const noexcept { return handler_.has_credit(); }
    void await_suspend(std::coroutine_handle<> yielding) noexcept {
      suspend(yielding);
      handler_.wait_for_credit(*this);
    }
    void await_resume() { handler_.send_part(part<T>{std::move(value_)}); }

   private:
    detail::handler_job& handler_;
    T value_;
  };

  stream get_return_object() noexcept { return stream{frame_handle::from_promise(*this)}; }
  template <std::convertible_to<T> U>
  yield_awaiter yield_value(U&& value) {
    static_assert(
        detail::safe_message<U>,
        "give this type a constructor, or name it: `line one{..}; co_yield one;` "
        "(detail/temporary.hpp)");
    return {static_cast<detail::handler_job&>(*root()), T(std::forward<U>(value))};
  }
  void return_void() noexcept {}
  void unhandled_exception() noexcept { thrown_ = std::current_exception(); }
  void take() {
    if (thrown_) std::rethrow_exception(std::move(thrown_));
  }

 private:
  std::exception_ptr thrown_;
};

}  // namespace dlls::runtime

// Waiting for something that is no actor: a database thread, a callback, a worker.
//
//   auto row = co_await completion<job_row>(this, [&](resolver<job_row> done) {
//     ledger_.submit(request, [done](auto answer) { done(std::move(answer)); });
//   });
//
// The function runs at the await, on the actor's turn, and must not block; it hands the resolver to
// whoever will know. So it may capture the coroutine's locals by reference; what lives on in an
// inner function may not. A function that owns something must be named before the co_await
// (detail/temporary.hpp). The coroutine is resumed on its actor's turn.
#pragma once
#include <chrono>
#include <exception>
#include <memory>
#include <type_traits>
#include <utility>

#include "runtime/detail/completion_state.hpp"
#include "runtime/detail/core.hpp"
#include "runtime/detail/saturated.hpp"
#include "runtime/detail/temporary.hpp"

namespace dlls::runtime {

// The other end of a completion. Copyable (all copies are one), callable from any thread, during or
// after the start function. The first call counts, later ones are ignored, and so is a call after
// the waiting coroutine or its actor has gone. When the last copy dies without a call, the
// completion fails with `cancelled`.
template <class T>
class resolver {
 public:
  explicit resolver(std::shared_ptr<detail::completion_ticket<T>> ticket) noexcept
      : ticket_(std::move(ticket)) {}

  // A value (of anything T is made from), a base::error, or a base::result<T>; for void nothing, a
  // base::error or a base::result<>.
  template <class U>
  void operator()(U&& outcome) const {
    ticket_->resolve(std::forward<U>(outcome));
  }
  void operator()() const requires std::is_void_v<T> { ticket_->resolve(std::monostate{}); }
  // The exception is rethrown at the await.
  void fail(std::exception_ptr thrown) const { ticket_->resolve(std::move(thrown)); }

 private:
  std::shared_ptr<detail::completion_ticket<T>> ticket_;
};

namespace detail {

template <class T, bool Throws, class Start>
class [[nodiscard]] completion_awaitable final : public operation {
 public:
  using value_type = std::conditional_t<Throws, T, base::result<T>>;
  completion_awaitable(core& c, std::chrono::nanoseconds within, Start start)
      : operation(within), core_(c), start_(std::move(start)) {}
  completion_awaitable(completion_awaitable&& other) noexcept  // only before it is awaited
      : operation(other.within()), core_(other.core_), start_(std::move(other.start_)) {}
  ~completion_awaitable() { core_.close(*this); }

  bool await_ready() const { return false; }
  void await_suspend(std::coroutine_handle<> waiting) {
    suspend(waiting);
    const auto now = core_.now();
    const auto deadline = core::later(now, within());
    begin_at(now);
    state_ = std::make_shared<completion_state<T>>();
    const call_id id{call_kind::call, 0, core_.open(*this, deadline)};
    auto ticket = std::make_shared<completion_ticket<T>>(
        state_, completion_waker{core_.self().address(), id.response()});
    try {
      start_(resolver<T>{ticket});
    } catch (...) {
      ticket->resolve(std::current_exception());
    }
  }
  value_type await_resume() {
    if (expired_) {
      base::error late{base::errc::deadline_exceeded, "not completed in time"};
      if constexpr (Throws)
        throw base::failure(std::move(late));
      else
        return late;
    }
    if constexpr (Throws)
      return state_->take();
    else
      return state_->take_result();
  }

  after_answer answered(caf::type_erased_tuple&) override { return after_answer::closed; }
  void expired() override { expired_ = true; }
  std::string describe() const override {
    if constexpr (requires { Start::what; })
      return Start::what;
    else
      return "a completion";
  }

 private:
  core& core_;
  Start start_;
  std::shared_ptr<completion_state<T>> state_;
  bool expired_ = false;
};

}  // namespace detail

namespace detail {

// For the runtime's own start functions, which are no closures.
struct direct_t {};
inline constexpr direct_t direct;

inline constexpr auto for_ever = std::chrono::nanoseconds::max();

template <class T, bool Throws, class Self, class Start>
auto make_completion(Self* self, std::chrono::nanoseconds within, Start&& start) {
  static_assert(
      safe_function<Start>,
      "name this function before the co_await, or capture by reference (detail/temporary.hpp)");
  return completion_awaitable<T, Throws, owned_function<Start>>(
      self->core(), within, own(std::forward<Start>(start)));
}

}  // namespace detail

// Waits without a deadline. Throws base::failure for a base::error, or what resolver::fail was
// given or the start function threw.
template <class T, class Self, class Start>
auto completion(Self* self, Start&& start) {
  return detail::make_completion<T, true>(self, detail::for_ever, std::forward<Start>(start));
}
template <class T, class Self, class Start>
auto completion(Self* self, detail::direct_t, Start start) {
  return detail::completion_awaitable<T, true, Start>(
      self->core(), detail::for_ever, std::move(start));
}
// Fails with deadline_exceeded when nobody calls within that time.
template <class T, class Self, class Rep, class Period, class Start>
auto completion(Self* self, std::chrono::duration<Rep, Period> within, Start&& start) {
  return detail::make_completion<T, true>(
      self, detail::saturated(within), std::forward<Start>(start));
}
// Gives a base::result<T>; exceptions become errors in it.
template <class T, class Self, class Start>
auto try_completion(Self* self, Start&& start) {
  return detail::make_completion<T, false>(self, detail::for_ever, std::forward<Start>(start));
}

}  // namespace dlls::runtime

// A request with a deadline, awaited.
//
//   auto w = co_await ask(this, handle, 5s, hello{"n1"});          // welcome; throws base::failure
//   auto r = co_await try_ask(this, handle, 5s, hello{"n1"});      // base::result<welcome>
//   auto n = co_await ask<int>(this, dynamic_handle, 5s, count{});  // caf::actor: name the answer
//
// Awaitable once, by a coroutine of `self`, which must be a co_actor. Nothing is sent before the
// await. Several values in an answer come as a std::tuple, none as void.
//
// Errors: deadline_exceeded when no answer came in time, or at once when the time given is not
// positive (a later answer is ignored); unavailable when the handle is empty, or as soon as the
// callee has ended or its node is lost, without waiting for the deadline; otherwise what the callee
// answered, which arrives unchanged from another node too.
//
// Deadlines travel. Inside a handler, an ask waits no longer than whoever asked the handler does,
// whatever time it is given; the time left goes along with the request, to another node too. It
// counts there from the handler's first wait.
//
// Cancellation travels. When the waiting coroutine is destroyed, or the time is over, the callee is
// told: a co_actor ends the handler at its await, with what it asked of others in turn (unless it
// serves it `detached`); other actors ignore the word.
#pragma once
#include <fmt/core.h>

#include <caf/actor_cast.hpp>
#include <caf/mailbox_element.hpp>
#include <caf/response_type.hpp>
#include <chrono>
#include <new>
#include <utility>
#include <variant>

#include "runtime/caf_error.hpp"
#include "runtime/detail/answer.hpp"
#include "runtime/detail/core.hpp"
#include "runtime/detail/saturated.hpp"
#include "runtime/detail/temporary.hpp"

namespace dlls::runtime {

namespace detail {

// The wait that ask and try_ask share.
template <class R>
class ask_operation final : public operation {
 public:
  ask_operation(
      core& c, caf::strong_actor_ptr callee, std::chrono::nanoseconds within,
      caf::mailbox_element_ptr request)
      : operation(within), core_(c), callee_(std::move(callee)), request_(request.release()) {}
  ask_operation(ask_operation&& other) noexcept  // only before it is awaited
      : operation(other.within()),
        core_(other.core_),
        callee_(std::move(other.callee_)),
        request_(std::exchange(other.request_, nullptr)) {}
  ~ask_operation() {
    if (is_open()) {
      core_.cancel_call(callee_, number());
      core_.close(*this);
    }
    drop();
  }

  // False: the outcome is there already.
  bool start(std::coroutine_handle<> waiting) {
    if (!callee_) {
      fail({base::errc::unavailable, "asked nobody: the handle is empty"});
      return false;
    }
    const auto now = core_.now();
    const auto deadline = core_.deadline(now, within());
    begin_at(now);
    if (deadline <= now) {
      fail(late_answer(*callee_));
      return false;
    }
    suspend(waiting);
    caf::mailbox_element_ptr request{std::exchange(request_, nullptr)};
    core_.call(*this, call_kind::call, deadline, callee_, std::move(request));
    return true;
  }
  base::result<R> take() {
    if (stage() == failed) return std::move(*failure_);
    if constexpr (std::is_void_v<R>)
      return {};
    else
      return std::move(value_);
  }

  after_answer answered(caf::type_erased_tuple& content) override {
    auto answer = read_answer<R>(content, *callee_);
    if (!answer) {
      fail(std::move(answer).error());
      return after_answer::closed;
    }
    drop();
    if constexpr (!std::is_void_v<R>) new (&value_) value(std::move(*answer));
    set_stage(answered_well);
    return after_answer::closed;
  }
  void expired() override {
    core_.cancel_call(callee_, number());
    fail(late_answer(*callee_));
  }
  void callee_lost(const base::error& why) override { fail(why); }
  std::string describe() const override {
    return "the answer of " + runtime::detail::describe(*callee_);
  }

 private:
  using value = std::conditional_t<std::is_void_v<R>, std::monostate, R>;
  static constexpr std::uint8_t asking = 0, answered_well = 1, failed = 2;
  void fail(base::error why) {
    auto* failure = new base::error(std::move(why));
    drop();
    failure_ = failure;
    set_stage(failed);
  }
  void drop() noexcept {
    switch (stage()) {
      case asking:
        caf::mailbox_element_ptr{request_}.reset();
        break;
      case answered_well:
        value_.~value();
        break;
      case failed:
        delete failure_;
    }
    request_ = nullptr;
    set_stage(asking);
  }

  core& core_;
  caf::strong_actor_ptr callee_;
  // By stage: the request until it is sent, then what came of it. No variant: its index would cost
  // every suspended ask another word.
  union {
    caf::mailbox_element* request_;
    value value_;
    base::error* failure_;
  };
};

template <class R, bool Throws>
class [[nodiscard]] ask_awaitable {
 public:
  using value_type = std::conditional_t<Throws, R, base::result<R>>;
  template <class... Ts>
  explicit ask_awaitable(Ts&&... arguments) : wait_(std::forward<Ts>(arguments)...) {}
  bool await_ready() const noexcept { return false; }
  bool await_suspend(std::coroutine_handle<> waiting) { return wait_.start(waiting); }
  value_type await_resume() {
    if constexpr (!Throws) {
      return wait_.take();
    } else {
      auto answer = wait_.take();
      if (!answer) throw base::failure(std::move(answer).error());
      if constexpr (!std::is_void_v<R>) return std::move(*answer);
    }
  }

 private:
  ask_operation<R> wait_;
};

template <class R, bool Throws, class Self, class Handle, class Rep, class Period, class... Ts>
auto make_ask(
    Self* self, const Handle& callee, std::chrono::duration<Rep, Period> within, Ts&&... message) {
  static_assert(
      (safe_message<Ts> && ...),
      "give this message type a constructor, or pass a named value without std::move "
      "(detail/temporary.hpp)");
  using answer = answer_type<R, Handle, std::decay_t<Ts>...>;
  static_assert(!is_part<answer>, "the answer is a stream: subscribe() to it");
  auto& c = self->core();
  return ask_awaitable<answer, Throws>(
      c, caf::actor_cast<caf::strong_actor_ptr>(callee), detail::saturated(within),
      caf::make_mailbox_element({}, {}, {}, std::forward<Ts>(message)...));
}

}  // namespace detail

template <class R = detail::deduced, class Self, class Handle, class Rep, class Period, class... Ts>
auto ask(
    Self* self, const Handle& callee, std::chrono::duration<Rep, Period> within, Ts&&... message) {
  return detail::make_ask<R, true>(self, callee, within, std::forward<Ts>(message)...);
}

template <class R = detail::deduced, class Self, class Handle, class Rep, class Period, class... Ts>
auto try_ask(
    Self* self, const Handle& callee, std::chrono::duration<Rep, Period> within, Ts&&... message) {
  return detail::make_ask<R, false>(self, callee, within, std::forward<Ts>(message)...);
}

}  // namespace dlls::runtime

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
// counts there from when the request is taken up.
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
#include <optional>
#include <tuple>

#include "runtime/caf_error.hpp"
#include "runtime/detail/answer.hpp"
#include "runtime/detail/core.hpp"
#include "runtime/detail/temporary.hpp"

namespace dlls::runtime {

namespace detail {

// The wait that ask and try_ask share.
template <class R>
class ask_operation final : public operation {
 public:
  ask_operation(
      core& c, caf::strong_actor_ptr callee, caf::actor_clock::duration_type within,
      caf::mailbox_element_ptr request)
      : core_(c), callee_(std::move(callee)), within_(within), request_(std::move(request)) {}
  ask_operation(ask_operation&& other) noexcept  // only before it is awaited
      : core_(other.core_),
        callee_(std::move(other.callee_)),
        within_(other.within_),
        request_(std::move(other.request_)) {}
  ~ask_operation() {
    if (!is_open()) return;
    core_.cancel_call(callee_, number());
    core_.close(*this);
  }

  bool ready() {
    begin_at(core_.now());
    deadline_ = core_.deadline(since(), within_);
    if (!callee_) {
      answer_.emplace(
          boost::system::in_place_error,
          base::error{base::errc::unavailable, "asked nobody: the handle is empty"});
    } else if (deadline_ <= since()) {
      answer_.emplace(boost::system::in_place_error, late_answer(*callee_));
    }
    return answer_.has_value();
  }
  void start(std::coroutine_handle<> waiting) {
    suspend(waiting);
    number_ = core_.open(*this, deadline_);
    request_->mid = call_id{call_kind::call, time_left(since(), deadline_), number_}.request();
    request_->sender = core_.self().ctrl();
    core_.watch(*this, callee_);
    callee_->get()->enqueue(std::move(request_), core_.self().context());
  }
  base::result<R> take() { return std::move(*answer_); }

  after_answer answered(caf::type_erased_tuple& content) override {
    answer_.emplace(read_answer<R>(content, *callee_));
    return after_answer::closed;
  }
  void expired() override {
    core_.cancel_call(callee_, number_);
    answer_.emplace(boost::system::in_place_error, late_answer(*callee_));
  }
  void callee_lost(const base::error& why) override {
    answer_.emplace(boost::system::in_place_error, why);
  }
  std::string describe() const override {
    return "the answer of " + runtime::detail::describe(*callee_);
  }

 private:
  core& core_;
  caf::strong_actor_ptr callee_;
  caf::actor_clock::duration_type within_;
  time_point deadline_;
  caf::mailbox_element_ptr request_;
  std::uint64_t number_ = 0;
  std::optional<base::result<R>> answer_;
};

template <class R, bool Throws>
class [[nodiscard]] ask_awaitable {
 public:
  using value_type = std::conditional_t<Throws, R, base::result<R>>;
  template <class... Ts>
  explicit ask_awaitable(Ts&&... arguments) : wait_(std::forward<Ts>(arguments)...) {}
  bool await_ready() { return wait_.ready(); }
  void await_suspend(std::coroutine_handle<> waiting) { wait_.start(waiting); }
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
      "give this message type a constructor, or name the value before the co_await "
      "(detail/temporary.hpp)");
  using answer = answer_type<R, Handle, std::decay_t<Ts>...>;
  static_assert(!is_part<answer>, "the answer is a stream: subscribe() to it");
  auto& c = self->core();
  return ask_awaitable<answer, Throws>(
      c, caf::actor_cast<caf::strong_actor_ptr>(callee),
      std::chrono::duration_cast<caf::actor_clock::duration_type>(within),
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

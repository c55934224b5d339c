// A stream of values from another actor, taken at one's own pace.
//
//   auto lines = subscribe(this, reader, 30s, path{"/etc/hosts"});
//   while (auto one = co_await lines.next()) use(*one);        // std::optional<line>
//
// Nothing is sent before the first next(). At most `window` values are under way or waiting here:
// the callee (stream.hpp) gets room for that many, and for more as they are taken. A window of 1 is
// lock step, one of window_max (part.hpp) the largest; on a line of 20 Mbit/s and 200 ms, 8 values
// of 64 KiB keep it busy.
//
// The values come in order, once each, then next() gives nothing, or throws base::failure: what the
// callee threw; deadline_exceeded when `within` passed without a value, or the time of the request
// that this handler serves is over (ask.hpp: deadlines travel); unavailable when the callee or its
// node is lost; resource_exhausted when the callee sends more than it was granted. Each of these
// ends the subscription, and so does its destructor: the callee is told and stops at its co_yield.
#pragma once
#include <caf/actor_cast.hpp>
#include <caf/mailbox_element.hpp>
#include <chrono>
#include <deque>
#include <memory>
#include <optional>
#include <utility>

#include "base/error.hpp"
#include "runtime/detail/answer.hpp"
#include "runtime/detail/core.hpp"
#include "runtime/detail/saturated.hpp"
#include "runtime/detail/subscription_state.hpp"
#include "runtime/detail/temporary.hpp"

namespace dlls::runtime {

inline constexpr std::uint32_t default_window = 8;  // values

// Lives in a coroutine of the actor that subscribed; movable between awaits.
template <class T>
class [[nodiscard]] subscription {
 public:
  using value_type = T;

  subscription(
      detail::core& c, caf::strong_actor_ptr callee, std::chrono::nanoseconds within,
      std::uint32_t window, caf::mailbox_element_ptr request)
      : state_(std::make_unique<detail::subscription_state<T>>(
            c, std::move(callee), within, window, std::move(request))) {}

  // One at a time. Cancelling this await keeps the subscription: no value is lost.
  auto next() { return next_awaitable<true>{*state_}; }
  // base::result<std::optional<T>>
  auto try_next() { return next_awaitable<false>{*state_}; }

 private:
  template <bool Throws>
  class [[nodiscard]] next_awaitable {
   public:
    using value_type = std::conditional_t<Throws, std::optional<T>, base::result<std::optional<T>>>;
    explicit next_awaitable(detail::subscription_state<T>& state) : wait_(state) {}
    bool await_ready() { return wait_.ready(); }
    void await_suspend(std::coroutine_handle<> waiting) { wait_.start(waiting); }
    value_type await_resume() {
      auto got = wait_.take();
      if constexpr (Throws) {
        if (!got) throw base::failure(std::move(got).error());
        return std::move(*got);
      } else {
        return got;
      }
    }

   private:
    detail::next_operation<T> wait_;
  };

  std::unique_ptr<detail::subscription_state<T>> state_;
};

namespace detail {

template <class Answer>
struct part_value {
  static_assert(sizeof(Answer) < 0, "the answer to this message is no stream: ask()");
};
template <class T>
struct part_value<part<T>> {
  using type = T;
};

template <class T, class Self, class Handle, class... Ts>
subscription<T> make_subscription(
    Self* self, const Handle& callee, std::chrono::nanoseconds within, std::uint32_t window,
    Ts&&... message) {
  static_assert(
      (safe_message<Ts> && ...),
      "give this message type a constructor, or pass a named value without std::move "
      "(detail/temporary.hpp)");
  return subscription<T>{
      self->core(), caf::actor_cast<caf::strong_actor_ptr>(callee), within, window,
      caf::make_mailbox_element({}, {}, {}, std::forward<Ts>(message)...)};
}

}  // namespace detail

template <class Self, class Handle, class Rep, class Period, class Message>
auto subscribe(
    Self* self, const Handle& callee, std::chrono::duration<Rep, Period> within, Message&& message,
    std::uint32_t window = default_window) {
  using answer = detail::answer_type<detail::deduced, Handle, std::decay_t<Message>>;
  using value = typename detail::part_value<answer>::type;
  return detail::make_subscription<value>(
      self, callee, detail::saturated(within), window, std::forward<Message>(message));
}
// From a dynamically typed actor: subscribe<line>(this, actor, 30s, message)
template <class T, class Self, class Rep, class Period, class Message>
auto subscribe(
    Self* self, const caf::actor& callee, std::chrono::duration<Rep, Period> within,
    Message&& message, std::uint32_t window = default_window) {
  return detail::make_subscription<T>(
      self, callee, detail::saturated(within), window, std::forward<Message>(message));
}

}  // namespace dlls::runtime

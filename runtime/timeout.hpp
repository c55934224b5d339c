// A bound on how long one task, or any awaitable, may take.
//
//   auto file = co_await timeout(this, 5s, fetch(name));       // throws base::failure
//   auto file = co_await try_timeout(this, 5s, fetch(name));   // base::result<T>
//
// When the time is over the task is cancelled (destroyed) and the outcome is deadline_exceeded. The
// time runs on the actor system's clock, from the await on; not positive: the task isn't started.
// What the task asks of others inherits the bound, to another node too.
// What the task throws passes through timeout; try_timeout gives a base::failure's error and lets
// other exceptions pass. For one request, ask's own deadline is cheaper.
#pragma once
#include <chrono>
#include <utility>
#include <variant>

#include "base/error.hpp"
#include "runtime/detail/saturated.hpp"
#include "runtime/race.hpp"
#include "runtime/sleep.hpp"

namespace dlls::runtime {

namespace detail {

inline base::error out_of_time() {
  return {base::errc::deadline_exceeded, "the task did not end in the time given"};
}

template <class Self>
task<void> pause(Self* self, std::chrono::nanoseconds time) {
  co_await sleep(self, time);
}

template <class T, class Self>
task<T> bounded(Self* self, std::chrono::nanoseconds within, task<T> body) {
  if (within.count() <= 0) throw base::failure(out_of_time());
  // The task first: when both end on one turn, its result is there.
  auto& c = self->core();
  const auto deadline = c.later(c.now(), within);
  auto won = co_await race_all(deadline, std::move(body), pause(self, within));
  if (won.index() == 1) throw base::failure(out_of_time());
  if constexpr (!std::is_void_v<T>) co_return std::get<0>(std::move(won));
}

template <class T, class Self>
task<base::result<T>> try_bounded(Self* self, std::chrono::nanoseconds within, task<T> body) {
  try {
    if constexpr (std::is_void_v<T>) {
      co_await bounded(self, within, std::move(body));
      co_return base::result<T>{};
    } else {
      co_return co_await bounded(self, within, std::move(body));
    }
  } catch (const base::failure& f) {
    co_return f.why();
  }
}

}  // namespace detail

template <class Self, class Rep, class Period, class Awaitable>
auto timeout(Self* self, std::chrono::duration<Rep, Period> within, Awaitable body) {
  return detail::bounded(self, detail::saturated(within), detail::as_task(std::move(body)));
}

template <class Self, class Rep, class Period, class Awaitable>
auto try_timeout(Self* self, std::chrono::duration<Rep, Period> within, Awaitable body) {
  return detail::try_bounded(self, detail::saturated(within), detail::as_task(std::move(body)));
}

}  // namespace dlls::runtime

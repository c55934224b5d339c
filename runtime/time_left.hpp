// How long the work that runs now is still of use to whoever asked for it.
//
//   if (const auto left = time_left(this); left && *left < 2s) co_return quick_guess();
//
// Nothing: no limit (a message that was sent and not asked, a task of tasks(), an asker that waits
// for ever, a handler that is served `detached`). Never negative. On the actor's turn, inside of a
// coroutine. See ask.hpp for how deadlines travel.
#pragma once
#include <algorithm>
#include <chrono>
#include <optional>

#include "runtime/detail/core.hpp"

namespace dlls::runtime {

template <class Self>
std::optional<std::chrono::nanoseconds> time_left(Self* self) {
  auto& c = self->core();
  const auto now = c.now();
  const auto deadline = c.deadline(now, std::chrono::nanoseconds::max());
  if (deadline == detail::no_deadline) return std::nullopt;
  return std::max<std::chrono::nanoseconds>(deadline - now, std::chrono::nanoseconds{0});
}

}  // namespace dlls::runtime

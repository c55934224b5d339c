// A pause of the coroutine, not of its actor:  co_await sleep(this, 250ms);
#pragma once
#include <chrono>

#include "runtime/detail/core.hpp"

namespace dlls::runtime {

namespace detail {

class [[nodiscard]] sleep_awaitable final : public operation {
 public:
  using value_type = void;
  sleep_awaitable(core& c, time_point until) noexcept : core_(c), until_(until) {}
  sleep_awaitable(sleep_awaitable&& other) noexcept  // only before it is awaited
      : core_(other.core_), until_(other.until_) {}
  ~sleep_awaitable() { core_.close(*this); }
  bool await_ready() const { return until_ <= core_.now(); }
  void await_suspend(std::coroutine_handle<> waiting) {
    resume_point = waiting;
    core_.open(*this, until_);
  }
  void await_resume() const noexcept {}
  void answered(caf::type_erased_tuple&) override {}
  void expired() override {}

 private:
  core& core_;
  time_point until_;
};

}  // namespace detail

// Resumes on the first turn at or after that time, on the actor system's clock (virtual in tests).
// Not positive: goes on without suspending. Ends early only by cancellation.
template <class Self, class Rep, class Period>
detail::sleep_awaitable sleep(Self* self, std::chrono::duration<Rep, Period> pause) {
  auto& c = self->core();
  return {c, c.deadline(std::chrono::duration_cast<caf::actor_clock::duration_type>(pause))};
}

}  // namespace dlls::runtime

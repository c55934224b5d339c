// A pause of the coroutine, not of its actor (nanoseconds::max(): for ever):  co_await sleep(this,
// 250ms);
#pragma once
#include <chrono>

#include "runtime/detail/core.hpp"
#include "runtime/detail/saturated.hpp"

namespace dlls::runtime {

namespace detail {

class [[nodiscard]] sleep_awaitable final : public operation {
 public:
  using value_type = void;
  sleep_awaitable(core& c, std::chrono::nanoseconds pause) noexcept : operation(pause), core_(c) {}
  sleep_awaitable(sleep_awaitable&& other) noexcept  // only before it is awaited
      : operation(other.within()), core_(other.core_) {}
  ~sleep_awaitable() { core_.close(*this); }
  bool await_ready() const noexcept { return within().count() <= 0; }
  void await_suspend(std::coroutine_handle<> waiting) {
    suspend(waiting);
    const auto now = core_.now();
    const auto until = core::later(now, within());
    begin_at(now);
    core_.open(*this, until);
  }
  void await_resume() const noexcept {}
  after_answer answered(caf::type_erased_tuple&) override { return after_answer::closed; }
  void expired() override {}
  std::string describe() const override { return "a time to come"; }

 private:
  core& core_;
};

}  // namespace detail

// Resumes on the first turn at or after that time, on the actor system's clock (virtual in tests).
// Not positive: goes on without suspending. Ends early only by cancellation.
template <class Self, class Rep, class Period>
detail::sleep_awaitable sleep(Self* self, std::chrono::duration<Rep, Period> pause) {
  return {self->core(), detail::saturated(pause)};
}

}  // namespace dlls::runtime

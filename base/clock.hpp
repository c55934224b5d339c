// Time comes from outside: everything that waits or stamps takes a clock.
#pragma once
#include <atomic>
#include <chrono>
#include <cstdint>

namespace dlls::base {

using milliseconds = std::chrono::milliseconds;

// Thread-safe. `steady` never goes back and says nothing of the date; `wall` is Unix time and may
// jump.
class clock {
 public:
  virtual ~clock() = default;
  virtual milliseconds steady() const = 0;
  virtual milliseconds wall() const = 0;
  std::int64_t wall_s() const { return wall().count() / 1000; }
};

// The operating system's clocks; lives for ever.
const clock& system_clock();

// For tests: stands still until told.
class manual_clock final : public clock {
 public:
  explicit manual_clock(milliseconds wall_start = milliseconds{1'750'000'000'000})
      : wall_ms_(wall_start.count()) {}
  milliseconds steady() const override { return milliseconds{steady_ms_.load()}; }
  milliseconds wall() const override { return milliseconds{wall_ms_.load()}; }
  void advance(milliseconds by) { steady_ms_ += by.count(), wall_ms_ += by.count(); }
  void jump_wall(milliseconds by) { wall_ms_ += by.count(); }

 private:
  std::atomic<std::int64_t> steady_ms_{1'000'000};
  std::atomic<std::int64_t> wall_ms_;
};

}  // namespace dlls::base

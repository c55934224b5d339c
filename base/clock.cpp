#include "base/clock.hpp"

namespace dlls::base {
namespace {

class os_clock final : public clock {
 public:
  milliseconds steady() const override { return now<std::chrono::steady_clock>(); }
  milliseconds wall() const override { return now<std::chrono::system_clock>(); }

 private:
  template <class Clock>
  static milliseconds now() {
    return std::chrono::duration_cast<milliseconds>(Clock::now().time_since_epoch());
  }
};

}  // namespace

const clock& system_clock() {
  static const os_clock instance;
  return instance;
}

}  // namespace dlls::base

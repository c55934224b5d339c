// A time in nanoseconds, however large the unit it was given in.
#pragma once
#include <chrono>

namespace dlls::runtime::detail {

// nanoseconds::max() is for ever; hours::max() and the like become that, and do not overflow.
template <class Rep, class Period>
constexpr std::chrono::nanoseconds saturated(std::chrono::duration<Rep, Period> time) noexcept {
  using std::chrono::nanoseconds;
  using wide = std::chrono::duration<long double, std::nano>;
  if (wide{time} >= wide{nanoseconds::max()}) return nanoseconds::max();
  if (wide{time} <= wide{nanoseconds::min()}) return nanoseconds::min();
  return std::chrono::duration_cast<nanoseconds>(time);
}

}  // namespace dlls::runtime::detail

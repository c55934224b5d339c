// A task whose end and whose cancellation can both be seen.
#pragma once
#include <string>
#include <vector>

#include "tests/runtime/messages.hpp"

namespace dlls::tests {

using log_t = std::vector<std::string>;

// Gives the value after that time, and fails when it is negative; writes down when it is cancelled
// before.
inline rt::task<int> later(runner* self, int value, int ms, log_t* log) {
  struct guard {
    log_t* log;
    int value;
    bool finished = false;
    guard(log_t* l, int v) : log(l), value(v) {}
    ~guard() {
      if (!finished) log->push_back("cancelled " + std::to_string(value));
    }
  } g{log, value};
  co_await rt::sleep(self, std::chrono::milliseconds{ms});
  g.finished = true;
  if (value < 0) throw base::failure({base::errc::corrupt, "negative"});
  co_return value;
}

}  // namespace dlls::tests

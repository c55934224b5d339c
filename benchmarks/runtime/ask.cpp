// The question: what does a coroutine's ask with a deadline cost, against CAF's own
// request(...).then with the same deadline, and against one without any?
//
//   bench_ask [round trips per measurement] [rounds] [lanes, for a profile: the coroutine alone]
//
// Two actors of one process, coroutines on both sides against plain handlers on both sides, 1 and
// 1000 asks in flight; with workers that poll when they are idle, as CAF's own do by default and
// which is fastest for this, and with workers that sleep, as make_system's do by default. Rounds
// alternate, each in a fresh actor system; medians are compared.
#include "benchmarks/runtime/echo.hpp"
#include "runtime/system.hpp"

namespace {

using namespace dlls::bench;

// Round trips a second.
double measure(kind what, rt::idle_workers idle, int count, int lanes) {
  auto host = rt::make_system({.workers = 2, .idle = idle});
  return count / ask_between_two(host->actors(), what, {count, lanes, count});
}

void compare(rt::idle_workers idle, int count, int rounds, int lanes) {
  std::vector<double> coroutine, with, without;
  for (int i = 0; i < rounds; ++i) {
    coroutine.push_back(measure(kind::coroutine, idle, count, lanes));
    with.push_back(measure(kind::raw_with_deadline, idle, count, lanes));
    without.push_back(measure(kind::raw_without, idle, count, lanes));
  }
  const double c = median(coroutine), w = median(with), n = median(without);
  fmt::print(
      "{:5} in flight, idle workers {}: coroutine ask {:8.0f}/s   raw with deadline {:8.0f}/s "
      "(ratio {:.2f})   "
      "raw without {:8.0f}/s (ratio {:.2f})\n",
      lanes, idle == rt::idle_workers::poll ? "poll " : "sleep", c, w, c / w, n, c / n);
}

}  // namespace

int main(int argc, char** argv) {
  const int count = argc > 1 ? std::atoi(argv[1]) : 200'000;
  const int rounds = argc > 2 ? std::atoi(argv[2]) : 7;
  print_conditions(count, rounds);
  if (argc > 3) {
    const int lanes = std::atoi(argv[3]);
    for (int i = 0; i < rounds; ++i)
      fmt::print("{:.0f}/s\n", measure(kind::coroutine, rt::idle_workers::poll, count, lanes));
    return 0;
  }
  for (auto idle : {rt::idle_workers::poll, rt::idle_workers::sleep})
    for (int lanes : {1, 1000}) compare(idle, count, rounds, lanes);
}

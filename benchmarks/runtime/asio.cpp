// For orientation: what does the same ping-pong cost with Boost.Asio's awaitables?
//
//   bench_ask_asio [round trips per measurement] [rounds]
//
// Asio has no actors; the nearest thing to one is a strand. An ask is a coroutine spawned on the
// other one's strand whose result the asker awaits on its own: no mailbox, no types, no deadline,
// nothing that tells of the other side's end. With a deadline it is raced against a timer, by
// Asio's own operator||. Two threads on both sides, 1 and 1000 asks in flight, alternated rounds.
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "benchmarks/runtime/echo.hpp"
#include "runtime/system.hpp"

namespace {

using namespace dlls::bench;
namespace asio = boost::asio;
using strand = asio::strand<asio::thread_pool::executor_type>;

asio::awaitable<int> answer(int x) { co_return x + 1; }

asio::awaitable<void> lane(strand callee, errand* what) {
  while (what->next()) co_await asio::co_spawn(callee, answer(1), asio::use_awaitable);
  what->lane_ends();
}

asio::awaitable<void> lane_with_deadline(strand callee, errand* what) {
  using namespace asio::experimental::awaitable_operators;
  asio::steady_timer timer{co_await asio::this_coro::executor};
  while (what->next()) {
    timer.expires_after(deadline);
    const auto first = co_await (
        asio::co_spawn(callee, answer(1), asio::use_awaitable) ||
        timer.async_wait(asio::use_awaitable));
    if (first.index() != 0) std::abort();
  }
  what->lane_ends();
}

double of_asio(int count, int lanes, bool with_deadline) {
  asio::thread_pool pool{2};
  const auto asker = asio::make_strand(pool), callee = asio::make_strand(pool);
  errand what{count, lanes, count};
  auto seconds = what.seconds.get_future();
  for (int i = 0; i < lanes; ++i) {
    asio::co_spawn(
        asker, with_deadline ? lane_with_deadline(callee, &what) : lane(callee, &what),
        asio::detached);
  }
  const auto took = seconds.get();
  pool.join();
  return count / took;
}

double of_ours(int count, int lanes) {
  auto host = rt::make_system({.workers = 2, .idle = rt::idle_workers::poll});
  return count / ask_between_two(host->actors(), kind::coroutine, {count, lanes, count});
}

}  // namespace

int main(int argc, char** argv) {
  const int count = argc > 1 ? std::atoi(argv[1]) : 200'000;
  const int rounds = argc > 2 ? std::atoi(argv[2]) : 7;
  print_conditions(count, rounds);
  for (int lanes : {1, 1000}) {
    std::vector<double> ours, with, without;
    for (int i = 0; i < rounds; ++i) {
      ours.push_back(of_ours(count, lanes));
      with.push_back(of_asio(count, lanes, true));
      without.push_back(of_asio(count, lanes, false));
    }
    const double c = median(ours), w = median(with), n = median(without);
    fmt::print(
        "{:5} in flight: coroutine ask {:8.0f}/s   Asio with deadline {:8.0f}/s (ratio {:.2f})   "
        "Asio without {:8.0f}/s (ratio {:.2f})\n",
        lanes, c, w, c / w, n, c / n);
  }
}

// The question: what does a coroutine's ask with a deadline cost, against CAF's own
// request(...).then with the same deadline, and against one without any?
//
//   bench_ask [round trips per measurement] [rounds]
//
// Two actors of one process, coroutines on both sides against plain handlers on both sides, 1 and
// 1000 asks in flight. Rounds alternate, each in a fresh actor system; medians are compared.
#include <fmt/core.h>

#include <algorithm>
#include <caf/all.hpp>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <future>
#include <string>
#include <thread>
#include <vector>

#include "runtime/ask.hpp"
#include "runtime/co_actor.hpp"
#include "runtime/scope.hpp"
#include "runtime/system.hpp"

namespace {

using namespace std::chrono_literals;
namespace rt = dlls::runtime;
using echo = caf::typed_actor<caf::replies_to<int>::with<int>>;

constexpr auto deadline = 10s;
constexpr std::uint64_t seed = 0;  // nothing here is left to chance

class co_echo : public rt::co_actor<echo> {
 public:
  using co_actor::co_actor;
  behavior_type make_behavior() override { return {serve(&co_echo::answer)}; }

 private:
  rt::task<int> answer(int x) { co_return x + 1; }
};

echo::behavior_type raw_echo() {
  return {[](int x) { return x + 1; }};
}

// Asks `left` times in all, `lanes` at a time; then tells.
class co_asker : public rt::co_actor<caf::actor> {
 public:
  co_asker(caf::actor_config& config, echo to, int left, int lanes, std::promise<void>* done)
      : co_actor(config), to_(std::move(to)), left_(left), lanes_(lanes), done_(done) {}
  caf::behavior make_behavior() override {
    for (int i = 0; i < lanes_; ++i) tasks().spawn(lane());
    return {[](caf::unit_t) {}};
  }

 private:
  rt::task<void> lane() {
    while (left_-- > 0) co_await rt::ask(this, to_, deadline, 1);
    if (--lanes_ == 0) done_->set_value();
  }
  echo to_;
  int left_;
  int lanes_;
  std::promise<void>* done_;
};

class raw_asker : public caf::event_based_actor {
 public:
  raw_asker(
      caf::actor_config& config, echo to, caf::duration within, int left, int lanes,
      std::promise<void>* done)
      : event_based_actor(config),
        to_(std::move(to)),
        within_(within),
        left_(left),
        lanes_(lanes),
        done_(done) {}
  caf::behavior make_behavior() override {
    for (int i = lanes_; i > 0; --i) next();
    return {[](caf::unit_t) {}};
  }

 private:
  void next() {
    if (left_-- > 0) {
      request(to_, within_, 1).then([this](int) { next(); }, [](caf::error&) { std::abort(); });
    } else if (--lanes_ == 0) {
      done_->set_value();
    }
  }
  echo to_;
  caf::duration within_;
  int left_;
  int lanes_;
  std::promise<void>* done_;
};

enum class kind { coroutine, raw_with_deadline, raw_without };

// Round trips a second.
double measure(kind what, int count, int lanes) {
  auto host = rt::make_system({.workers = 2});
  auto& actors = host->actors();
  std::promise<void> done;
  auto finished = done.get_future();
  const auto server = what == kind::coroutine ? actors.spawn<co_echo>() : actors.spawn(raw_echo);
  const auto began = std::chrono::steady_clock::now();
  caf::actor asker;
  if (what == kind::coroutine) {
    asker = actors.spawn<co_asker>(server, count, lanes, &done);
  } else {
    const auto within =
        what == kind::raw_with_deadline ? caf::duration{deadline} : caf::duration{caf::infinite};
    asker = actors.spawn<raw_asker>(server, within, count, lanes, &done);
  }
  finished.wait();
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
  caf::anon_send_exit(asker, caf::exit_reason::kill);
  caf::anon_send_exit(server, caf::exit_reason::kill);
  return count / took.count();
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

std::string machine() {
  std::ifstream cpuinfo{"/proc/cpuinfo"};
  for (std::string line; std::getline(cpuinfo, line);) {
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  }
  return "unknown processor";
}

void compare(int count, int rounds, int lanes) {
  std::vector<double> coroutine, with, without;
  for (int i = 0; i < rounds; ++i) {
    coroutine.push_back(measure(kind::coroutine, count, lanes));
    with.push_back(measure(kind::raw_with_deadline, count, lanes));
    without.push_back(measure(kind::raw_without, count, lanes));
  }
  const double c = median(coroutine), w = median(with), n = median(without);
  fmt::print(
      "{:5} in flight: coroutine ask {:8.0f}/s   raw with deadline {:8.0f}/s (ratio {:.2f})   "
      "raw without {:8.0f}/s (ratio {:.2f})\n",
      lanes, c, w, c / w, n, c / n);
}

}  // namespace

int main(int argc, char** argv) {
  const int count = argc > 1 ? std::atoi(argv[1]) : 200'000;
  const int rounds = argc > 2 ? std::atoi(argv[2]) : 7;
  fmt::print(
      "machine: {} x {}   seed: {}   {} round trips, median of {} alternated rounds\n", machine(),
      std::thread::hardware_concurrency(), seed, count, rounds);
  for (int lanes : {1, 1000}) compare(count, rounds, lanes);
}

// What the benchmarks of this folder share: an actor that answers, one that asks, and the words.
#pragma once
#include <fmt/core.h>

#include <algorithm>
#include <caf/all.hpp>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <future>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "runtime/ask.hpp"
#include "runtime/co_actor.hpp"

namespace dlls::bench {

using namespace std::chrono_literals;
namespace rt = dlls::runtime;

using echo = caf::typed_actor<caf::replies_to<int>::with<int>>;
inline constexpr auto deadline = 10s;
inline constexpr std::uint64_t seed = 0;  // nothing here is left to chance

class co_echo : public rt::co_actor<echo> {
 public:
  using co_actor::co_actor;
  behavior_type make_behavior() override { return {serve(&co_echo::answer)}; }

 private:
  rt::task<int> answer(int x) { co_return x + 1; }
};

inline echo::behavior_type raw_echo() {
  return {[](int x) { return x + 1; }};
}

inline double seconds_since(std::chrono::steady_clock::time_point began) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
}

// `left` asks in all, `lanes` at a time; the last `counted` of them are timed.
struct errand {
  int left;
  int lanes;
  int counted;
  std::chrono::steady_clock::time_point began{};
  std::promise<double> seconds{};

  bool next() {
    if (left == counted) began = std::chrono::steady_clock::now();
    return left-- > 0;
  }
  void lane_ends() {
    if (--lanes == 0) seconds.set_value(seconds_since(began));
  }
};

class co_asker : public rt::co_actor<caf::actor> {
 public:
  co_asker(caf::actor_config& config, echo to, errand* what)
      : co_actor(config), to_(std::move(to)), what_(what) {}
  caf::behavior make_behavior() override {
    for (int i = what_->lanes; i > 0; --i) tasks().spawn(lane());
    return {[](caf::unit_t) {}};
  }

 private:
  rt::task<void> lane() {
    while (what_->next()) co_await rt::ask(this, to_, deadline, 1);
    what_->lane_ends();
  }
  echo to_;
  errand* what_;
};

class raw_asker : public caf::event_based_actor {
 public:
  raw_asker(caf::actor_config& config, echo to, caf::duration within, errand* what)
      : event_based_actor(config), to_(std::move(to)), within_(within), what_(what) {}
  caf::behavior make_behavior() override {
    for (int i = what_->lanes; i > 0; --i) next();
    return {[](caf::unit_t) {}};
  }

 private:
  void next() {
    if (!what_->next()) return what_->lane_ends();
    request(to_, within_, 1).then([this](int) { next(); }, [](caf::error&) { std::abort(); });
  }
  echo to_;
  caf::duration within_;
  errand* what_;
};

enum class kind { coroutine, raw_with_deadline, raw_without };

inline caf::duration within(kind what) {
  return what == kind::raw_with_deadline ? caf::duration{deadline} : caf::duration{caf::infinite};
}

// Seconds that the asks of `what` took between two fresh actors of this system.
inline double ask_between_two(caf::actor_system& actors, kind how, errand what) {
  auto seconds = what.seconds.get_future();
  const auto server = how == kind::coroutine ? actors.spawn<co_echo>() : actors.spawn(raw_echo);
  const auto asker = how == kind::coroutine ? actors.spawn<co_asker>(server, &what)
                                            : actors.spawn<raw_asker>(server, within(how), &what);
  const auto took = seconds.get();
  caf::scoped_actor self{actors};
  for (const auto& a : {caf::actor_cast<caf::actor>(server), asker}) {
    self->send_exit(a, caf::exit_reason::kill);
    self->wait_for(a);
  }
  return took;
}

inline double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

inline std::string machine() {
  std::ifstream cpuinfo{"/proc/cpuinfo"};
  for (std::string line; std::getline(cpuinfo, line);) {
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  }
  return "unknown processor";
}

inline void print_conditions(int count, int rounds) {
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  double load = 0;
  std::ifstream{"/proc/loadavg"} >> load;
  fmt::print(
      "machine: {} x {}   load before: {:.2f}   seed: {}   {} round trips, median of {} alternated "
      "rounds\n",
      machine(), std::thread::hardware_concurrency(), load, seed, count, rounds);
}

}  // namespace dlls::bench

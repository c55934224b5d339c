// The question: what does it cost that inspect() could list the actors, while nobody asks, and what
// does one look cost?
//
//   bench_inspect [actors or round trips per measurement] [rounds]
//
// The same system with its list and without: actors spawned and ended, and asks of a coroutine.
// Rounds alternate, each in a fresh actor system; medians are compared.
#include <fmt/core.h>

#include <algorithm>
#include <caf/all.hpp>
#include <chrono>
#include <cstdlib>
#include <ctime>
#include <future>
#include <thread>
#include <vector>

#include "runtime/ask.hpp"
#include "runtime/co_actor.hpp"
#include "runtime/inspect.hpp"
#include "runtime/sleep.hpp"

namespace {

using namespace std::chrono_literals;
namespace rt = dlls::runtime;
using echo = caf::typed_actor<caf::replies_to<int>::with<int>>;

class co_echo : public rt::co_actor<echo> {
 public:
  using co_actor::co_actor;
  behavior_type make_behavior() override { return {serve(&co_echo::answer)}; }

 private:
  rt::task<int> answer(int x) {
    if (x < 0) co_await rt::sleep(this, 1h);
    co_return x + 1;
  }
};

class co_asker : public rt::co_actor<caf::actor> {
 public:
  co_asker(caf::actor_config& config, echo to, int left, std::promise<void>* done)
      : co_actor(config), to_(std::move(to)), left_(left), done_(done) {}
  caf::behavior make_behavior() override {
    tasks().spawn(run());
    return {[](caf::unit_t) {}};
  }

 private:
  rt::task<void> run() {
    while (left_-- > 0) co_await rt::ask(this, to_, 10s, 1);
    done_->set_value();
  }
  echo to_;
  int left_;
  std::promise<void>* done_;
};

struct world {
  explicit world(bool listed) {
    config.set("scheduler.max-threads", 1);
    config.set("logger.verbosity", caf::atom("quiet"));
    if (listed) rt::list_actors(config);
    actors = std::make_unique<caf::actor_system>(config);
  }
  caf::actor_system_config config;
  std::unique_ptr<caf::actor_system> actors;
};

// Of the processor, all threads together: other programs on the machine don't count.
double cpu_seconds() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

// Nanoseconds an actor, from spawn to end.
double spawned(bool listed, int count) {
  world w{listed};
  const auto began = cpu_seconds();
  for (int i = 0; i < count; i += 100) {
    for (int n = 0; n < 100; ++n) w.actors->spawn<co_echo>();
    w.actors->await_all_actors_done();
  }
  return (cpu_seconds() - began) / count * 1e9;
}

// Nanoseconds a round trip.
double asked(bool listed, int count) {
  world w{listed};
  std::promise<void> done;
  auto server = w.actors->spawn<co_echo>();
  const auto began = cpu_seconds();
  auto asker = w.actors->spawn<co_asker>(server, count, &done);
  done.get_future().wait();
  const auto took = cpu_seconds() - began;
  caf::anon_send_exit(server, caf::exit_reason::kill);
  return took / count * 1e9;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

template <class Measure>
void compare(const char* what, Measure measure, int count, int rounds) {
  std::vector<double> with, without, ratios;
  for (int i = 0; i < rounds; ++i) {
    without.push_back(measure(false, count));
    with.push_back(measure(true, count));
    ratios.push_back(with.back() / without.back());
  }
  fmt::print(
      "{:24} without a list {:5.0f} ns   with {:5.0f} ns   median of the rounds' ratios {:.3f}, "
      "ratio of the best {:.3f}\n",
      what, median(without), median(with), median(ratios),
      *std::min_element(with.begin(), with.end()) /
          *std::min_element(without.begin(), without.end()));
}

void look(int actors, int tasks) {
  world w{true};
  std::vector<echo> kept;
  for (int i = 0; i < actors; ++i) {
    kept.push_back(w.actors->spawn<co_echo>());
    for (int n = 0; n < tasks; ++n) caf::anon_send(kept.back(), -1);
  }
  const auto begun = [&] {
    const auto all = rt::inspect(*w.actors, {.within = 60s});
    return std::all_of(all.begin(), all.end(), [&](const rt::actor_view& one) {
      return one.tasks.size() == static_cast<std::size_t>(tasks);
    });
  };
  while (!begun()) std::this_thread::yield();
  const auto began = std::chrono::steady_clock::now();
  const auto seen = rt::inspect(*w.actors, {.within = 60s});
  fmt::print(
      "one look at {} actors with {} tasks each: {:.2f} ms, {} bytes of JSON\n", seen.size(), tasks,
      std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count() * 1e3,
      rt::to_json(seen).size());
  for (const auto& one : kept) caf::anon_send_exit(one, caf::exit_reason::kill);
}

}  // namespace

int main(int argc, char** argv) {
  const int count = argc > 1 ? std::atoi(argv[1]) : 200'000;
  const int rounds = argc > 2 ? std::atoi(argv[2]) : 15;
  fmt::print("no seed: nothing here is left to chance   {} a measurement\n", count);
  compare("spawned and ended", spawned, count, rounds);
  compare("asks, one in flight", asked, count, rounds);
  look(10, 10);
  look(1000, 10);
}

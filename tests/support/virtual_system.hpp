// An actor system on virtual time, whose order of turns a seed decides: the same seed gives the
// same run. Single-threaded: actors run only inside the calls below. For tests of everything that
// is made of co_actors.
//
//   tests::virtual_system world{seed, {.announce = wire::announce}};
//   auto handle = world.actors().spawn<porter>("n1");
//   auto answer = world.ask(handle, 5s, hello{"x"});      // base::result<welcome>
//   world.advance(90min);
//
// A failing test prints the seed (CAPTURE(world.seed())); tests that choose one at random choose
// seed_or(random), and DLLS_SEED=n replays it.
#pragma once
#include <caf/all.hpp>
#include <caf/scheduler/test_coordinator.hpp>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.hpp"
#include "base/random.hpp"
#include "runtime/outside.hpp"
#include "runtime/system.hpp"

namespace dlls::tests {

// The seed of this run: DLLS_SEED when set, else `otherwise`.
inline std::uint64_t seed_or(std::uint64_t otherwise) {
  const char* given = std::getenv("DLLS_SEED");
  return given ? std::strtoull(given, nullptr, 0) : otherwise;
}

class virtual_system {
 public:
  using duration = std::chrono::steady_clock::duration;

  explicit virtual_system(std::uint64_t seed = seed_or(1), runtime::system_options options = {})
      : seed_(seed), chance_(seed) {
    auto configure = std::move(options.configure);
    options.configure = [configure](caf::actor_system_config& config) {
      config.set("scheduler.policy", caf::atom("testing"));
      if (configure) configure(config);
    };
    host_ = runtime::make_system(options);
    outside_ = std::make_unique<runtime::outside>(actors());
  }
  // Every actor that was spawned must have ended, or end by what is still queued, or be killed by
  // kill() before: CAF waits for actors.
  ~virtual_system() {
    outside_.reset();
    kill_tracked();
    run();
  }
  virtual_system(const virtual_system&) = delete;
  virtual_system& operator=(const virtual_system&) = delete;

  caf::actor_system& actors() { return host_->actors(); }
  std::uint64_t seed() const { return seed_; }
  runtime::outside& outside() { return *outside_; }

  // Spawns and ends the actor with this system.
  template <class Actor, class... Ts>
  auto spawn(Ts&&... arguments) {
    auto handle = actors().template spawn<Actor>(std::forward<Ts>(arguments)...);
    tracked_.push_back(caf::actor_cast<caf::actor_addr>(handle));
    return handle;
  }
  template <class Handle>
  void kill(const Handle& handle) {
    caf::anon_send_exit(handle, caf::exit_reason::kill);
  }

  // Runs turns until nobody is ready; time stands still. Returns the number of turns.
  std::size_t run() {
    std::size_t turns = 0;
    for (auto& jobs = scheduler().jobs; !jobs.empty(); ++turns) {
      const auto at = chance_.below(jobs.size());
      std::rotate(
          jobs.begin(), jobs.begin() + static_cast<std::ptrdiff_t>(at),
          jobs.begin() + static_cast<std::ptrdiff_t>(at) + 1);
      trace_ = (trace_ ^ (at + 1)) * 0x100000001b3u;
      scheduler().run_once();
    }
    return turns;
  }

  // Runs, and lets time pass: every timer that is due fires in order, with turns in between.
  template <class Rep, class Period>
  void advance(std::chrono::duration<Rep, Period> by) {
    const auto until = clock().current_time + std::chrono::duration_cast<duration>(by);
    run();
    while (!clock().schedule().empty() && clock().schedule().begin()->first <= until) {
      clock().trigger_timeout();
      run();
    }
    clock().current_time = until;
    run();
  }

  // Runs and lets time pass until the condition holds; false when it does not within `limit`.
  template <class Condition, class Rep, class Period>
  bool run_until(Condition condition, std::chrono::duration<Rep, Period> limit) {
    const auto until = clock().current_time + std::chrono::duration_cast<duration>(limit);
    for (run(); !condition(); run()) {
      if (clock().schedule().empty() || clock().schedule().begin()->first > until) return false;
      clock().trigger_timeout();
    }
    return true;
  }

  // Asks from outside and runs until the answer or the deadline.
  template <
      class R = runtime::detail::deduced, class Handle, class Rep, class Period, class Message>
  auto ask(const Handle& callee, std::chrono::duration<Rep, Period> within, Message message) {
    using answer = runtime::detail::answer_type<R, Handle, Message>;
    auto result = std::make_shared<std::optional<base::result<answer>>>();
    outside_->ask<R>(callee, within, std::move(message), [result](base::result<answer> r) {
      result->emplace(std::move(r));
    });
    run_until([&] { return result->has_value(); }, within);
    if (!result->has_value()) {
      result->emplace(base::error{base::errc::internal, "virtual_system: the ask never ended"});
    }
    return std::move(**result);
  }

  // Virtual time since the start, as exact as the timers are.
  duration now() { return clock().current_time.time_since_epoch(); }
  // Virtual time since the start.
  std::chrono::milliseconds elapsed() {
    return std::chrono::duration_cast<std::chrono::milliseconds>(
        clock().current_time.time_since_epoch());
  }
  // The same time for parts that take a base::clock; wall time starts at a fixed date.
  const base::clock& base_clock() {
    shown_.world = this;
    return shown_;
  }
  // A hash over every decision so far: equal seeds must give equal traces.
  std::uint64_t trace() const { return trace_; }
  // Entries in CAF's clock.
  std::size_t timers() { return clock().schedule().size(); }

 private:
  struct virtual_clock final : base::clock {
    virtual_system* world = nullptr;
    base::milliseconds steady() const override { return world->elapsed(); }
    base::milliseconds wall() const override {
      return base::milliseconds{1'750'000'000'000} + world->elapsed();
    }
  };

  caf::scheduler::test_coordinator& scheduler() {
    return static_cast<caf::scheduler::test_coordinator&>(actors().scheduler());
  }
  caf::detail::test_actor_clock& clock() { return scheduler().clock(); }
  void kill_tracked() {
    for (const auto& address : tracked_) {
      if (auto handle = caf::actor_cast<caf::strong_actor_ptr>(address)) {
        handle->enqueue(
            nullptr, caf::make_message_id(),
            caf::make_message(caf::exit_msg{address, caf::exit_reason::kill}), nullptr);
      }
    }
  }

  std::uint64_t seed_;
  base::random_source chance_;
  std::uint64_t trace_ = 0xcbf29ce484222325u;
  std::unique_ptr<runtime::system_host> host_;
  std::unique_ptr<runtime::outside> outside_;
  std::vector<caf::actor_addr> tracked_;
  virtual_clock shown_;
};

}  // namespace dlls::tests

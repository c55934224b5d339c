// Everything at once on CAF's real scheduler: asks, kills, timeouts, streams, offloads, asks from
// threads. Order is the machine's; what is checked is that everybody gets an answer, that nothing
// is left behind, and, under a sanitizer, that nothing is touched from two sides.
#include <catch2/catch.hpp>

#include <atomic>
#include <future>
#include <latch>
#include <thread>

#include "base/random.hpp"
#include "runtime/race.hpp"
#include "runtime/stream.hpp"
#include "runtime/subscribe.hpp"
#include "runtime/timeout.hpp"
#include "tests/runtime/messages.hpp"

using namespace dlls;
using namespace dlls::tests;

namespace {

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr int rounds = 150;
#else
constexpr int rounds = 1500;
#endif

using worker_door = caf::typed_actor<
    caf::replies_to<hello>::with<welcome>, caf::replies_to<int>::with<rt::part<int>>>;

class stress_worker final : public rt::co_actor<worker_door> {
 public:
  stress_worker(caf::actor_config& config, rt::worker_pool* pool) : co_actor(config), pool_(pool) {}
  behavior_type make_behavior() override {
    return {serve(&stress_worker::greet), serve(&stress_worker::count)};
  }

 private:
  rt::task<welcome> greet(hello message) {
    ++in_work_;
    if (message.wait_ms == 1) co_await rt::sleep(this, 1ms);
    if (message.wait_ms == 2) {
      const int sum = co_await rt::offload(this, *pool_, [] { return 40 + 2; });
      if (sum != 42) throw base::failure({base::errc::internal, "a sum went wrong"});
    }
    if (message.wait_ms == 3) throw base::failure({base::errc::stale, "as asked"});
    if (message.wait_ms == 4) co_await rt::sleep(this, 1h);
    --in_work_;
    co_return welcome{message.name};
  }
  rt::stream<int> count(int most) {
    for (int i = 0; i < most; ++i) {
      if (i % 7 == 3) co_await rt::sleep(this, 1ms);
      co_yield i;
    }
  }
  rt::worker_pool* pool_;
  int in_work_ = 0;  // state of the actor, touched on its turns only
};

struct tally {
  std::atomic<int> answered{0}, failed{0}, wrong{0};
  std::latch running;
  explicit tally(int askers) : running(askers) {}
};

class stress_asker final : public rt::co_actor<caf::actor> {
 public:
  stress_asker(
      caf::actor_config& config, std::vector<worker_door> workers, std::uint64_t seed, tally* into)
      : co_actor(config), workers_(std::move(workers)), chance_(seed), into_(into) {}
  caf::behavior make_behavior() override {
    tasks().spawn(run());
    return {[](caf::unit_t) {}};
  }

 private:
  rt::task<void> run() {
    for (int i = 0; i < rounds; ++i) co_await one(workers_[chance_.below(workers_.size())], i);
    into_->running.count_down();
  }
  void note(const base::result<welcome>& answer, const std::string& wanted) {
    if (!answer)
      ++into_->failed;
    else if (answer->text != wanted)
      ++into_->wrong;
    else
      ++into_->answered;
  }
  rt::task<void> one(worker_door to, int i) {
    const auto name = "a name that lives on the heap, number " + std::to_string(i);
    switch (chance_.below(6)) {
      case 0:
      case 1: {
        const int wait = static_cast<int>(chance_.below(4));
        note(co_await rt::try_ask(this, to, 30s, hello{name, wait}), name);
        break;
      }
      case 2:  // runs out of time, or is cancelled by the timeout around it
        note(co_await rt::try_ask(this, to, 1ms, hello{name, 4}), name);
        (void)co_await rt::try_timeout(this, 1ms, rt::ask(this, to, 1h, hello{name, 4}));
        break;
      case 3: {
        const auto both = co_await rt::gather(
            rt::try_ask(this, to, 30s, hello{name, 1}), rt::try_ask(this, to, 30s, hello{name, 2}));
        note(std::get<0>(both), name);
        note(std::get<1>(both), name);
        break;
      }
      case 4: {
        const int most = static_cast<int>(chance_.below(40));
        const int wanted = static_cast<int>(chance_.below(60));  // sometimes less than there is
        auto values = rt::subscribe(this, to, 30s, most, 3);
        for (int k = 0; k < wanted; ++k) {
          auto next = co_await values.try_next();
          if (!next || !*next) break;
          if (**next != k) ++into_->wrong;
        }
        break;
      }
      default:
        (void)co_await rt::race(
            rt::try_ask(this, to, 30s, hello{name, 1}), rt::try_ask(this, to, 30s, hello{name, 0}));
    }
  }

  std::vector<worker_door> workers_;
  base::random_source chance_;
  tally* into_;
};

}  // namespace

TEST_CASE("asks, kills, timeouts and streams on real threads leave nothing behind") {
  const auto seed = seed_or(base::secure_random_u64());
  INFO("DLLS_SEED=" << seed);
  base::random_source chance{seed};
  const auto frames_before = rt::live_frames();
  {
    rt::worker_pool pool{{.threads = 2}};
    auto host = rt::make_system({.workers = 4});
    auto& actors = host->actors();
    constexpr int askers = 6;
    tally all{askers};
    std::vector<worker_door> workers;
    for (int i = 0; i < 8; ++i) workers.push_back(actors.spawn<stress_worker>(&pool));
    std::vector<caf::actor> asking;
    for (int i = 0; i < askers; ++i)
      asking.push_back(actors.spawn<stress_asker>(workers, chance(), &all));
    std::vector<std::thread> threads;
    std::atomic<int> outside_ended{0};
    {
      rt::outside out{actors};
      for (int t = 0; t < 2; ++t)
        threads.emplace_back([&, t] {
          for (int i = 0; i < rounds / 3; ++i) {
            const auto& to = workers[static_cast<std::size_t>(i + t) % workers.size()];
            out.ask(to, 20ms, hello{"from a thread", i % 5}, [&](base::result<welcome>) {
              ++outside_ended;
            });
          }
        });
      for (auto& t : threads) t.join();
      // A worker dies under its askers, twice.
      caf::anon_send_exit(workers[0], caf::exit_reason::kill);
      caf::anon_send_exit(workers[1], caf::exit_reason::user_shutdown);
      all.running.wait();
    }
    // Handlers that sleep for an hour were left behind by askers that gave up: none is there now.
    const auto limit = std::chrono::steady_clock::now() + 30s;
    while (rt::live_frames() != frames_before && std::chrono::steady_clock::now() < limit)
      std::this_thread::yield();
    CHECK(rt::live_frames() == frames_before);
    CHECK(outside_ended == 2 * (rounds / 3));
    CHECK(all.wrong == 0);
    CHECK(all.answered > rounds);
    CHECK(all.failed > 0);
    // Cut short in the middle of things: nobody waits for them any more.
    tally late{1 << 20};
    for (int i = 0; i < askers; ++i)
      asking.push_back(actors.spawn<stress_asker>(workers, chance(), &late));
    for (const auto& a : asking) caf::anon_send_exit(a, caf::exit_reason::kill);
    for (const auto& w : workers) caf::anon_send_exit(w, caf::exit_reason::kill);
    asking.clear();
    workers.clear();
  }
  CHECK(rt::live_frames() == frames_before);
}

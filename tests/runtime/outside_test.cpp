// Threads and the real scheduler: nothing here sleeps; waits have deadlines.
#include <caf/io/middleman.hpp>
#include <catch2/catch.hpp>
#include <condition_variable>
#include <map>
#include <mutex>
#include <thread>

#include "runtime/detail/frames.hpp"
#include "tests/runtime/messages.hpp"

using namespace dlls;
using namespace dlls::tests;

namespace {

// Counts down to zero on any thread.
class countdown {
 public:
  explicit countdown(int n) : left_(n) {}
  void down() {
    const std::scoped_lock lock{mutex_};
    if (--left_ <= 0) zero_.notify_all();
  }
  bool wait() {
    std::unique_lock lock{mutex_};
    return zero_.wait_for(lock, 30s, [&] { return left_ <= 0; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable zero_;
  int left_;
};

template <class Handle>
void end(const Handle& handle) {
  caf::anon_send_exit(handle, caf::exit_reason::kill);
}

}  // namespace

TEST_CASE("a thread outside asks and waits on the real scheduler") {
  auto host = rt::make_system({.workers = 2});
  rt::outside out{host->actors()};
  auto p = host->actors().spawn<porter>();
  CHECK(out.ask_wait(p, 10s, hello{"thread", 5})->text == "hello thread");
  CHECK(out.ask_wait(p, 10s, hello{"x", -1}).error().code == base::errc::stale);
  CHECK(out.ask_wait(p, 10ms, hello{"x", 3'600'000}).error().code == base::errc::deadline_exceeded);
  CHECK(out.ask_wait(p, 0s, hello{"x"}).error().code == base::errc::deadline_exceeded);
  CHECK(out.ask_wait(door{}, 1s, hello{"x"}).error().code == base::errc::unavailable);
  end(p);
}

TEST_CASE("many threads ask many times through one outside") {
  auto host = rt::make_system({.workers = 2});
  rt::outside out{host->actors()};
  auto p = host->actors().spawn<porter>();
  constexpr int threads = 4, rounds = 500;
  countdown left{threads * rounds};
  std::atomic<int> good{0};
  std::vector<std::thread> all;
  for (int t = 0; t < threads; ++t) {
    all.emplace_back([&, t] {
      for (int i = 0; i < rounds; ++i) {
        const auto text = std::to_string(t) + "." + std::to_string(i);
        out.ask(p, 30s, hello{text, i % 7 == 0}, [&, text](base::result<welcome> r) {
          good += r && r->text == "hello " + text;
          left.down();
        });
      }
    });
  }
  for (auto& thread : all) thread.join();
  CHECK(left.wait());
  CHECK(good == threads * rounds);
  end(p);
}

TEST_CASE("the end of an outside answers what is open with cancelled, and a dead callee at once") {
  auto host = rt::make_system({.workers = 2});
  auto p = host->actors().spawn<porter>();
  int cancelled = 0;
  {
    rt::outside out{host->actors()};
    for (int i = 0; i < 10; ++i) {
      out.ask(p, 1h, hello{"x", 3'600'000}, [&](base::result<welcome> r) {
        cancelled += r.error().code == base::errc::cancelled;
      });
    }
  }
  CHECK(cancelled == 10);
  rt::outside out{host->actors()};
  countdown one{1};
  base::errc code{};
  out.ask(p, 1h, hello{"x", 3'600'000}, [&](base::result<welcome> r) {
    code = r.error().code;
    one.down();
  });
  end(p);
  CHECK(one.wait());
  CHECK(code == base::errc::unavailable);
  CHECK(out.ask_wait(p, 1h, hello{"x"}).error().code == base::errc::unavailable);
}

TEST_CASE("a thousand coroutines of many actors ask each other under load and leave no frame") {
  const auto frames = rt::live_frames();
  {
    auto host = rt::make_system({.workers = 4});
    auto& actors = host->actors();
    std::vector<door> porters;
    for (int i = 0; i < 8; ++i) porters.push_back(actors.spawn<porter>());
    std::atomic<int> answers{0};
    countdown left{8};
    for (int i = 0; i < 8; ++i) {
      actors.spawn<runner>([&, i](runner* self) -> rt::task<void> {
        {
          rt::scope s{self};
          for (int k = 0; k < 125; ++k) {
            s.spawn([](runner* a, door to, int wait, std::atomic<int>* n) -> rt::task<void> {
              for (int round = 0; round < 20; ++round) {
                auto w = co_await rt::ask(a, to, 30s, hello{"load", wait});
                *n += w.text == "hello load";
              }
            }(self, porters[(i + k) % 8], k % 3 == 0, &answers));
          }
          co_await s.join();
        }
        left.down();
      });
    }
    CHECK(left.wait());
    CHECK(answers == 8 * 125 * 20);
    for (auto& p : porters) end(p);
  }
  CHECK(rt::live_frames() == frames);
}

TEST_CASE("offload runs on the pool's threads and comes back to the actor's turn") {
  auto host = rt::make_system({.workers = 2});
  rt::worker_pool pool{{.threads = 2, .name = "test-pool"}};
  countdown one{1};
  int value = 0;
  std::string thrown, refused;
  bool elsewhere = false;
  std::weak_ptr<int> captured;
  auto r = host->actors().spawn<runner>([&](runner* self) -> rt::task<void> {
    const auto actor_thread = std::this_thread::get_id();
    auto kept = std::make_shared<int>(42);
    captured = kept;
    auto work = [kept = std::move(kept)] { return *kept; };
    value = co_await rt::offload(self, pool, rt::take(work));
    elsewhere = co_await rt::offload(
        self, pool, [=] { return std::this_thread::get_id() != actor_thread; });
    try {
      co_await rt::offload(self, pool, [] { throw std::out_of_range("travelled"); });
    } catch (const std::out_of_range& e) {
      thrown = e.what();
    }
    auto result = co_await rt::offload(self, pool, []() -> base::result<int> {
      return base::error{base::errc::io, "disk"};
    });
    refused = result.error().message;
    one.down();
  });
  CHECK(one.wait());
  CHECK(value == 42);
  CHECK(elsewhere);
  CHECK(thrown == "travelled");
  CHECK(refused == "disk");
  CHECK(captured.expired());
  end(r);
}

TEST_CASE("an offload to a full pool is refused, and one to a closing pool is cancelled") {
  auto host = rt::make_system({.workers = 2});
  std::mutex gate;
  gate.lock();
  auto pool = std::make_unique<rt::worker_pool>(
      rt::worker_pool::options{.threads = 1, .queued_max = 1, .name = "small"});
  std::map<base::errc, countdown> ended;
  for (auto code : {base::errc::ok, base::errc::resource_exhausted, base::errc::cancelled}) {
    ended.try_emplace(code, 1);
  }
  countdown begun{1};
  const auto work = [&](runner* self) -> rt::task<void> {
    auto code = base::errc::ok;
    try {
      co_await rt::offload(self, *pool, [&begun, &gate] {
        begun.down();
        const std::scoped_lock wait{gate};
      });
    } catch (const base::failure& f) {
      code = f.why().code;
    }
    ended.at(code).down();
  };
  auto r = host->actors().spawn<runner>([&](runner* self) -> rt::task<void> {
    self->tasks().spawn(work(self));
    // The first one must be running before the next is queued.
    co_await rt::completion<void>(self, [&](rt::resolver<void> done) {
      std::thread([&begun, done] { begun.wait(), done(); }).detach();
    });
    self->tasks().spawn(work(self));
    self->tasks().spawn(work(self));
  });
  CHECK(ended.at(base::errc::resource_exhausted).wait());
  std::thread closer{[&] { pool.reset(); }};  // drops the queued one, waits for the running one
  CHECK(ended.at(base::errc::cancelled).wait());
  gate.unlock();
  closer.join();
  CHECK(ended.at(base::errc::ok).wait());
  end(r);
}

TEST_CASE(
    "an error keeps code, message and hint across a network, and a lost link fails asks at once") {
  // CAF's own plain transport, on loopback only; the project's link has its own tests.
  auto options = rt::system_options{.workers = 2, .network = true, .announce = wire::announce};
  auto home = rt::make_system(options);
  auto cloud = rt::make_system(options);
  auto p = home->actors().spawn<porter>();
  const auto port = home->actors().middleman().publish(p, 0, "127.0.0.1");
  REQUIRE(port);
  const auto remote = cloud->actors().middleman().remote_actor<door>("127.0.0.1", *port);
  REQUIRE(remote);

  countdown suspended{1}, failed{1}, end_of_all{1};
  base::error refusal, loss;
  std::string text, alive;
  auto local = cloud->actors().spawn<porter>();
  auto r = cloud->actors().spawn<runner>([&](runner* self) -> rt::task<void> {
    text = (co_await rt::ask(self, *remote, 10s, hello{"far", 1})).text;
    refusal = (co_await rt::try_ask(self, *remote, 10s, hello{"x", -1})).error();
    suspended.down();
    loss = (co_await rt::try_ask(self, *remote, 1h, hello{"x", 3'600'000})).error();
    failed.down();
    alive = (co_await rt::ask(self, local, 10s, hello{"alive"})).text;
    end_of_all.down();
  });
  REQUIRE(suspended.wait());
  CHECK(text == "hello far");
  CHECK(refusal == base::error{base::errc::stale, "too old", "come again"});
  end(p);
  home.reset();  // closes the connection
  REQUIRE(failed.wait());
  CHECK(loss.code == base::errc::unavailable);
  REQUIRE(end_of_all.wait());
  CHECK(alive == "hello alive");
  end(r);
  end(local);
}

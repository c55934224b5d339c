#include "kernels/parallel.hpp"

#include <atomic>
#include <catch2/catch.hpp>
#include <thread>
#include <vector>

#include "base/random.hpp"
#include "tests/kernels/kernel_cases.hpp"

namespace dlls::kernels {
namespace {

TEST_CASE("a parallel loop calls every index once, whatever the sizes") {
  const auto seed = test::fresh_seed();
  INFO("seed " << seed);
  base::random_source random(seed);
  for (const std::size_t threads : {1, 2, 3, 7}) {
    thread_pool pool(threads);
    CHECK(pool.threads() == threads);
    for (int repeat = 0; repeat < 300; ++repeat) {
      const auto n = random.below(200), grain = random.below(20);
      std::vector<std::atomic<int>> calls(n);
      std::atomic<bool> aligned{true};
      parallel_for(pool, n, grain, [&](std::size_t begin, std::size_t end) {
        if (begin % std::max<std::size_t>(grain, 1) != 0 ||
            end - begin > std::max<std::size_t>(grain, 1) || end > n || begin >= end)
          aligned = false;
        for (auto i = begin; i < end; ++i) ++calls[i];
      });
      REQUIRE(aligned);
      for (const auto& count : calls) REQUIRE(count == 1);
    }
  }
}

TEST_CASE("what a parallel loop wrote is visible to its caller, region after region") {
  thread_pool pool(3);
  std::vector<std::size_t> values(64);
  for (std::size_t round = 1; round <= 5000; ++round) {
    parallel_for(pool, values.size(), 4, [&](std::size_t begin, std::size_t end) {
      for (auto i = begin; i < end; ++i) values[i] += i;
    });
    REQUIRE(values[63] == 63 * round);
    REQUIRE(values[1] == round);
  }
}

TEST_CASE("workers that have gone to sleep are woken by the next region") {
  thread_pool pool(2);
  for (int round = 0; round < 3; ++round) {
    std::atomic<int> arrived{0};
    // Ends only when both threads are inside at once.
    parallel_for(pool, 2, 1, [&](std::size_t, std::size_t) {
      ++arrived;
      while (arrived < 2) std::this_thread::yield();
    });
    CHECK(arrived == 2);
    // Long enough for the worker's spinning to end.
    const auto start = std::chrono::steady_clock::now();
    while (std::chrono::steady_clock::now() - start < std::chrono::milliseconds(20)) continue;
  }
}

TEST_CASE("a loop inside a loop runs on its own thread") {
  thread_pool pool(2);
  std::atomic<int> sum{0};
  parallel_for(pool, 4, 1, [&](std::size_t, std::size_t) {
    const auto self = std::this_thread::get_id();
    parallel_for(pool, 10, 2, [&](std::size_t begin, std::size_t end) {
      if (std::this_thread::get_id() == self) sum += static_cast<int>(end - begin);
    });
  });
  CHECK(sum == 40);
}

TEST_CASE("callers of one pool take turns") {
  thread_pool pool(2);
  std::atomic<int> inside{0}, sum{0};
  std::atomic<bool> mixed{false};
  const auto caller = [&] {
    for (int round = 0; round < 500; ++round) {
      std::atomic<int> mine{0};
      parallel_for(pool, 8, 1, [&](std::size_t, std::size_t) {
        if (++inside > 2) mixed = true;
        ++mine;
        --inside;
      });
      sum += mine;
    }
  };
  std::jthread first(caller), second(caller);
  first.join();
  second.join();
  CHECK(sum == 8000);
  CHECK_FALSE(mixed);
}

}  // namespace
}  // namespace dlls::kernels

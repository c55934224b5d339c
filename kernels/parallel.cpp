#include "kernels/parallel.hpp"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <thread>
#include <vector>

#include "base/check.hpp"

#if defined(__x86_64__)
#  include <immintrin.h>
#endif

namespace dlls::kernels {
namespace {

void relax() noexcept {
#if defined(__x86_64__)
  _mm_pause();
#else
  std::this_thread::yield();
#endif
}

// About 40 us on current processors: longer than the serial work between two regions of a decoding
// step, far shorter than a scheduler's time slice.
constexpr int spins_before_sleep = 1000;

std::size_t usable_cores() noexcept {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0)
    return std::max<std::size_t>(1, static_cast<std::size_t>(CPU_COUNT(&set)));
  return std::max(1u, std::thread::hardware_concurrency());
}

thread_local bool inside_region = false;

}  // namespace

// One word says everything about the current region: its number (upper half), whether it is open
// to workers, and how many are in it. The caller opens a region, works itself, closes it, and waits
// only for workers that joined. What a region consists of is written while it is closed and empty.
struct thread_pool::shared {
  static constexpr std::uint64_t open = 1ull << 31;
  static constexpr std::uint64_t joined = open - 1;
  static constexpr std::uint64_t one_region = 1ull << 32;

  alignas(64) std::atomic<std::uint64_t> state{0};
  std::atomic<std::uint32_t> opened{0};  // the region's number again, to sleep on
  std::atomic<int> sleepers{0};
  std::atomic<bool> stopping{false};
  alignas(64) std::atomic<std::size_t> next{0};  // the next piece to take
  alignas(64) range_function function = nullptr;
  void* context = nullptr;
  std::size_t n = 0;
  std::size_t grain = 1;
  std::size_t pieces = 0;
  std::mutex one_caller;
  std::vector<std::jthread> workers;

  void take_pieces() noexcept {
    inside_region = true;
    for (;;) {
      const auto piece = next.fetch_add(1, std::memory_order_relaxed);
      if (piece >= pieces) break;
      const auto begin = piece * grain;
      function(context, begin, std::min(n, begin + grain));
    }
    inside_region = false;
  }

  // Joins the open region unless it is the one numbered `seen`; true when it did.
  bool join(std::uint32_t& seen) noexcept {
    auto s = state.load(std::memory_order_acquire);
    while ((s & open) != 0 && static_cast<std::uint32_t>(s >> 32) != seen) {
      if (state.compare_exchange_weak(s, s + 1, std::memory_order_acq_rel)) {
        seen = static_cast<std::uint32_t>(s >> 32);
        return true;
      }
    }
    return false;
  }

  void work() noexcept {
    std::uint32_t seen = 0;
    while (!stopping.load(std::memory_order_relaxed)) {
      for (int spin = 0; spin < spins_before_sleep; ++spin) {
        if (join(seen)) {
          take_pieces();
          if (((state.fetch_sub(1, std::memory_order_acq_rel) - 1) & (open | joined)) == 0)
            state.notify_one();
          spin = 0;
        }
        relax();
      }
      const auto last = opened.load();
      sleepers.fetch_add(1);
      // A region opened since is found here or ends the wait at once.
      if ((state.load() & open) == 0 || static_cast<std::uint32_t>(state.load() >> 32) == seen)
        if (!stopping.load()) opened.wait(last);
      sleepers.fetch_sub(1);
    }
  }

  void wake() noexcept {
    opened.fetch_add(1);
    if (sleepers.load() > 0) opened.notify_all();
  }

  void wait_for_workers() noexcept {
    auto s = state.fetch_and(~open, std::memory_order_acq_rel) & ~open;
    for (int spin = 0; (s & joined) != 0; ++spin) {
      if (spin < spins_before_sleep) {
        relax();
      } else {
        state.wait(s, std::memory_order_acquire);
      }
      s = state.load(std::memory_order_acquire);
    }
  }
};

thread_pool::thread_pool(std::size_t threads)
    : threads_(threads == 0 ? usable_cores() : threads), shared_(std::make_unique<shared>()) {
  base::check(threads_ < (1u << 16), "a thread pool of a sensible size");
  shared_->workers.reserve(threads_ - 1);
  for (std::size_t i = 1; i < threads_; ++i)
    shared_->workers.emplace_back([s = shared_.get()] { s->work(); });
}

thread_pool::~thread_pool() {
  shared_->stopping = true;
  shared_->opened.fetch_add(1);
  shared_->opened.notify_all();
  shared_->workers.clear();
}

void thread_pool::run(
    std::size_t n, std::size_t grain, range_function function, void* context) noexcept {
  grain = std::max<std::size_t>(1, grain);
  if (n == 0) return;
  if (threads_ == 1 || n <= grain || inside_region) {
    for (std::size_t begin = 0; begin < n; begin += grain)
      function(context, begin, std::min(n, begin + grain));
    return;
  }
  auto& s = *shared_;
  std::lock_guard turn(s.one_caller);
  s.function = function;
  s.context = context;
  s.n = n;
  s.grain = grain;
  s.pieces = (n + grain - 1) / grain;
  s.next.store(0, std::memory_order_relaxed);
  s.state.fetch_add(shared::one_region | shared::open);
  s.wake();
  s.take_pieces();
  s.wait_for_workers();
}

}  // namespace dlls::kernels

#include "runtime/detail/frames.hpp"

#include <atomic>
#include <mutex>
#include <new>
#include <utility>
#include <vector>

namespace dlls::runtime {
namespace {

// One counter a thread, so that counting costs no shared cache line. A frame may be created on one
// thread and destroyed on another: a single counter may be negative, the sum is right.
class frame_counter;

struct counter_registry {
  std::mutex mutex;
  std::vector<frame_counter*> counters;
  long of_ended_threads = 0;
};

counter_registry& registry() {
  static auto* const instance = new counter_registry;  // outlives every thread
  return *instance;
}

class frame_counter {
 public:
  frame_counter() {
    const std::scoped_lock lock{registry().mutex};
    registry().counters.push_back(this);
  }
  ~frame_counter() {
    const std::scoped_lock lock{registry().mutex};
    std::erase(registry().counters, this);
    registry().of_ended_threads += count();
  }
  // Only its own thread writes, so no read-modify-write is needed.
  void add(long n) noexcept { count_.store(count() + n, std::memory_order_relaxed); }
  long count() const noexcept { return count_.load(std::memory_order_relaxed); }

 private:
  std::atomic<long> count_{0};
};

thread_local frame_counter frames_of_this_thread;

}  // namespace

long live_frames() noexcept {
  const std::scoped_lock lock{registry().mutex};
  long sum = registry().of_ended_threads;
  for (const auto* counter : registry().counters) sum += counter->count();
  return sum;
}

namespace detail {
namespace {

// AddressSanitizer must see every frame's end.
#ifdef __SANITIZE_ADDRESS__
constexpr bool reuse = false;
#else
constexpr bool reuse = true;
#endif

}  // namespace

std::size_t frame_cache::rounded(std::size_t bytes) noexcept {
  return bytes > bytes_max ? bytes : (bytes + header + step - 1) / step * step - header;
}

void* frame_cache::take(std::size_t bytes) noexcept {
  if (bytes > bytes_max || !free_) return nullptr;
  auto*& list = (*free_)[list_of(bytes)];
  if (!list) return nullptr;
  kept_ -= rounded(bytes);
  return std::exchange(list, list->next);
}

bool frame_cache::give(void* frame, std::size_t bytes) noexcept {
  if (bytes > bytes_max || kept_ + rounded(bytes) > kept_max) return false;
  if (!free_) free_.reset(new (std::nothrow) lists{});
  if (!free_) return false;
  auto*& list = (*free_)[list_of(bytes)];
  list = new (frame) block{list};
  kept_ += rounded(bytes);
  return true;
}

frame_cache::~frame_cache() {
  if (!free_) return;
  for (auto*& list : *free_)
    while (list) ::operator delete(std::exchange(list, list->next));
}

void* allocate_frame(std::size_t bytes) {
  auto* cache = reuse ? current_frame_cache() : nullptr;
  void* frame = cache ? cache->take(bytes) : nullptr;
  if (!frame) frame = ::operator new(frame_cache::rounded(bytes));
  frames_of_this_thread.add(1);
  return frame;
}

void release_frame(void* frame, std::size_t bytes) noexcept {
  frames_of_this_thread.add(-1);
  auto* cache = reuse ? current_frame_cache() : nullptr;
  if (cache && cache->give(frame, bytes)) return;
  ::operator delete(frame);
}

}  // namespace detail
}  // namespace dlls::runtime

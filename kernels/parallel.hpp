// Threads for loops: a fixed set of workers that split index ranges.
//
// A region costs one to two microseconds while the workers still spin, and about fifty when they
// have gone to sleep. A worker spins briefly after a region, then sleeps in the kernel; a worker
// that the operating system never scheduled is not waited for, its share is done by the others. So
// a competing process costs its share of the machine, not a stall at every barrier.
#pragma once
#include <cstddef>
#include <memory>
#include <type_traits>

namespace dlls::kernels {

// Owns threads() - 1 workers; the caller of parallel_for is the remaining one. Any thread may call;
// concurrent callers take turns. Not copyable: pass by reference.
class thread_pool {
 public:
  // At least 1. 0 means one a core that this process may run on.
  explicit thread_pool(std::size_t threads = 0);
  ~thread_pool();
  thread_pool(const thread_pool&) = delete;
  thread_pool& operator=(const thread_pool&) = delete;

  std::size_t threads() const noexcept { return threads_; }

  // The untyped form of parallel_for.
  using range_function = void (*)(void* context, std::size_t begin, std::size_t end);
  void run(std::size_t n, std::size_t grain, range_function function, void* context) noexcept;

 private:
  struct shared;
  std::size_t threads_;
  std::unique_ptr<shared> shared_;
};

// Calls fn(begin, end) for pieces that cover [0, n) once, each starting at a multiple of `grain`
// (at least 1) and at most `grain` long; which thread takes which piece is left to chance, so fn
// must write to disjoint places, and then the result does not depend on it. Returns when all are
// done; what fn wrote is visible to the caller. fn must not throw (that ends the process). Inside a
// region a nested call runs on the calling thread alone.
template <class Fn>
void parallel_for(thread_pool& pool, std::size_t n, std::size_t grain, Fn&& fn) {
  using function = std::remove_reference_t<Fn>;
  pool.run(
      n, grain,
      [](void* context, std::size_t begin, std::size_t end) {
        (*static_cast<function*>(context))(begin, end);
      },
      const_cast<void*>(static_cast<const void*>(std::addressof(fn))));
}

}  // namespace dlls::kernels

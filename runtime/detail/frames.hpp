// Where coroutine frames live, and how many there are.
#pragma once
#include <array>
#include <cstddef>
#include <memory>

namespace dlls::runtime {

// Coroutine frames alive in this process, over all threads. Exact once the threads that create and
// destroy frames are at rest; tests use it to prove that nothing leaks.
long live_frames() noexcept;

namespace detail {

// The frames that one actor has given back, for its next ones: in the steady state a frame costs no
// heap allocation. Blocks come from the heap and may end in any cache, or there.
class frame_cache {
 public:
  frame_cache() = default;
  frame_cache(const frame_cache&) = delete;
  frame_cache& operator=(const frame_cache&) = delete;
  ~frame_cache();

  void* take(std::size_t bytes) noexcept;              // null: none of that size
  bool give(void* frame, std::size_t bytes) noexcept;  // false: full, or too large

  // What a block of that size is allocated with.
  static std::size_t rounded(std::size_t bytes) noexcept;

 private:
  // As malloc divides its memory: in steps of 16 bytes, 8 of which it keeps.
  static constexpr std::size_t step = 16;
  static constexpr std::size_t header = 8;
  static constexpr std::size_t bytes_max = 1024 - header;  // of one frame
  static constexpr std::size_t kept_max = 1u << 20;        // bytes in all
  struct block {
    block* next;
  };
  static std::size_t list_of(std::size_t bytes) noexcept { return (bytes + header - 1) / step; }
  using lists = std::array<block*, (bytes_max + header) / step>;
  std::unique_ptr<lists> free_;  // from the first frame on
  std::size_t kept_ = 0;
};

// Of the actor whose turn it is on this thread; null: of none (run_loop.cpp).
frame_cache* current_frame_cache() noexcept;

void* allocate_frame(std::size_t bytes);
void release_frame(void* frame, std::size_t bytes) noexcept;

}  // namespace detail
}  // namespace dlls::runtime

// Where coroutine frames live, and how many there are.
#pragma once
#include <cstddef>

namespace dlls::runtime {

// Coroutine frames alive in this process, over all threads. Exact once the threads that create and
// destroy frames are at rest; tests use it to prove that nothing leaks.
long live_frames() noexcept;

namespace detail {

void* allocate_frame(std::size_t bytes);
void release_frame(void* frame, std::size_t bytes) noexcept;

}  // namespace detail
}  // namespace dlls::runtime

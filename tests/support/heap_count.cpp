#include "tests/support/heap_count.hpp"

#include <malloc.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <new>

namespace {

std::atomic<std::size_t> allocations{0};
std::atomic<std::size_t> bytes{0};
std::array<std::atomic<std::size_t>, 1025> by_size{};
constexpr std::size_t header = 8;

void* counted(void* memory, std::size_t size) {
  if (!memory) throw std::bad_alloc{};
  allocations.fetch_add(1, std::memory_order_relaxed);
  if (size < by_size.size()) by_size[size].fetch_add(1, std::memory_order_relaxed);
  bytes.fetch_add(malloc_usable_size(memory) + header, std::memory_order_relaxed);
  return memory;
}

void release(void* memory) noexcept {
  if (!memory) return;
  bytes.fetch_sub(malloc_usable_size(memory) + header, std::memory_order_relaxed);
  std::free(memory);
}

std::size_t rounded(std::size_t size, std::size_t to) { return (size + to - 1) / to * to; }

}  // namespace

namespace dlls::tests {

std::size_t heap_allocations() noexcept { return allocations.load(std::memory_order_relaxed); }
std::size_t heap_allocations_of(std::size_t bytes) noexcept {
  return by_size.at(bytes).load(std::memory_order_relaxed);
}
std::size_t heap_bytes() noexcept { return bytes.load(std::memory_order_relaxed); }

}  // namespace dlls::tests

// The forms for arrays and for std::nothrow end in these.
void* operator new(std::size_t size) { return counted(std::malloc(size ? size : 1), size); }
void* operator new(std::size_t size, std::align_val_t at) {
  const auto alignment = static_cast<std::size_t>(at);
  return counted(std::aligned_alloc(alignment, rounded(size ? size : 1, alignment)), size);
}
void operator delete(void* memory) noexcept { release(memory); }
void operator delete(void* memory, std::size_t) noexcept { release(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { release(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { release(memory); }

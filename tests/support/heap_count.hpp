// What the program takes from the heap through operator new, over all threads, CAF's library
// included. Only for a program whose sources contain heap_count.cpp: it replaces the global
// operators.
#pragma once
#include <cstddef>

namespace dlls::tests {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool sanitized = true;
#else
inline constexpr bool sanitized = false;
#endif

// Calls of operator new so far.
std::size_t heap_allocations() noexcept;
// Those of them that asked for exactly so many bytes, up to 1,024.
std::size_t heap_allocations_of(std::size_t bytes) noexcept;
// Bytes held now, as malloc gives them out: rounded up, and its header of 8 bytes added.
std::size_t heap_bytes() noexcept;

}  // namespace dlls::tests

#include "kernels/memory.hpp"

#include <sys/mman.h>

#include <cstdint>
#include <new>
#include <utility>

namespace dlls::kernels {
namespace {

constexpr std::size_t huge_page = 2u << 20;

}  // namespace

huge_buffer::huge_buffer(std::size_t bytes, bool huge) : bytes_(bytes) {
  if (bytes == 0) return;
  mapped_bytes_ = bytes + (huge ? huge_page : 0);
  mapped_ = mmap(
      nullptr, mapped_bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
      -1, 0);
  if (mapped_ == MAP_FAILED) {
    mapped_ = nullptr;
    throw std::bad_alloc();
  }
  const auto start = reinterpret_cast<std::uintptr_t>(mapped_);
  const auto aligned = huge ? (start + huge_page - 1) / huge_page * huge_page : start;
  data_ = reinterpret_cast<std::byte*>(aligned);
  if (huge) madvise(data_, bytes_, MADV_HUGEPAGE);  // a wish; without it the pages are small
}

huge_buffer::~huge_buffer() {
  if (mapped_ != nullptr) munmap(mapped_, mapped_bytes_);
}

void huge_buffer::swap(huge_buffer& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  std::swap(mapped_, other.mapped_);
  std::swap(mapped_bytes_, other.mapped_bytes_);
}

}  // namespace dlls::kernels

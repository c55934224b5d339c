// Memory for weights and caches.
#pragma once
#include <cstddef>

namespace dlls::kernels {

// Zeroed memory on 2 MiB pages where the system has them: weights are read end to end for every
// token, and with small pages the address translation costs a fifth of the bandwidth.
class huge_buffer {
 public:
  huge_buffer() = default;
  // Throws std::bad_alloc. With `huge` false: ordinary pages, given when first touched.
  explicit huge_buffer(std::size_t bytes, bool huge = true);
  huge_buffer(huge_buffer&& other) noexcept { swap(other); }
  huge_buffer& operator=(huge_buffer&& other) noexcept {
    swap(other);
    return *this;
  }
  ~huge_buffer();
  void swap(huge_buffer& other) noexcept;

  std::byte* data() const noexcept { return data_; }
  std::size_t bytes() const noexcept { return bytes_; }

 private:
  std::byte* data_ = nullptr;
  std::size_t bytes_ = 0;
  void* mapped_ = nullptr;
  std::size_t mapped_bytes_ = 0;
};

}  // namespace dlls::kernels

// Large arrays of numbers for training: zeroed by the system, on huge pages where it has them.
#pragma once
#include <cstddef>
#include <utility>

namespace dlls::model {

// `bytes` zeroed bytes, or std::bad_alloc. Pages take memory only once written.
void* map_zeroed(std::size_t bytes);
void unmap(void* at, std::size_t bytes) noexcept;

// Owns the array; movable. Values start as zero.
template <class Real>
class training_buffer {
 public:
  training_buffer() = default;
  explicit training_buffer(std::size_t n)
      : data_(n ? static_cast<Real*>(map_zeroed(n * sizeof(Real))) : nullptr), size_(n) {}
  training_buffer(training_buffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  training_buffer& operator=(training_buffer&& other) noexcept {
    std::swap(data_, other.data_), std::swap(size_, other.size_);
    return *this;
  }
  ~training_buffer() {
    if (data_) unmap(data_, size_ * sizeof(Real));
  }

  // At least n values; what it held is lost when it grows.
  void reserve(std::size_t n) {
    if (n > size_) *this = training_buffer(), *this = training_buffer(n);
  }
  Real* data() noexcept { return data_; }
  const Real* data() const noexcept { return data_; }
  std::size_t size() const noexcept { return size_; }
  Real& operator[](std::size_t i) noexcept { return data_[i]; }
  const Real& operator[](std::size_t i) const noexcept { return data_[i]; }

 private:
  Real* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace dlls::model

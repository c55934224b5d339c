// Keys and values of one sequence, for all layers, and the scratch memory of its forward passes.
#pragma once
#include <cstdint>
#include <memory>

#include "kernels/layout.hpp"
#include "kernels/memory.hpp"
#include "model/llama_config.hpp"

namespace dlls::model {

// Owns its memory; pages are taken from the system when a position is first written, so a large
// capacity costs nothing until it is used. One thread at a time; movable.
class kv_cache {
 public:
  // `capacity` tokens (at least 1, rounded up to 16 inside). f16 halves the memory and is what the
  // quantised path uses; f32 is for parity. Throws std::bad_alloc.
  kv_cache(
      const llama_config& config, std::uint32_t capacity,
      kernels::element type = kernels::element::f16);
  kv_cache(kv_cache&&) noexcept;
  kv_cache& operator=(kv_cache&&) noexcept;
  ~kv_cache();

  std::uint32_t size() const noexcept { return size_; }  // tokens held
  std::uint32_t capacity() const noexcept { return capacity_; }
  // Bytes that `size` tokens take in this cache.
  std::uint64_t bytes_per_token() const noexcept;
  // Forgets everything from token `size` on; more than size() is a bug.
  void truncate(std::uint32_t size);

  // For forward(): one layer's view, and the token count after an append.
  kernels::kv_view layer(std::uint32_t index) const noexcept;
  void grow(std::uint32_t tokens);
  struct workspace;
  workspace& scratch() noexcept { return *scratch_; }

 private:
  std::uint32_t size_ = 0;
  std::uint32_t capacity_ = 0;
  std::uint32_t layers_ = 0;
  kernels::kv_view shape_;  // of every layer, without memory
  kernels::huge_buffer memory_;
  std::unique_ptr<workspace> scratch_;
};

}  // namespace dlls::model

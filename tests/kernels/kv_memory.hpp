// One layer's key-value cache of one sequence, its pages in no particular order.
#pragma once
#include <vector>

#include "kernels/layout.hpp"
#include "kernels/memory.hpp"

namespace dlls::test {

class kv_memory {
 public:
  kv_memory(const kernels::kv_shape& shape, std::size_t positions)
      : pages_((positions + kernels::kv_page_positions - 1) / kernels::kv_page_positions),
        memory_(pages_.size() * (shape.layer_bytes() + gap), false) {
    // Backwards and with something between, as a cache in use would have them.
    for (std::size_t i = 0; i < pages_.size(); ++i)
      pages_[i] = memory_.data() + (pages_.size() - 1 - i) * (shape.layer_bytes() + gap);
    view_ = {shape, pages_.data(), pages_.size(), gap};
  }
  kv_memory(const kv_memory&) = delete;
  kv_memory& operator=(const kv_memory&) = delete;

  const kernels::kv_view& view() const { return view_; }
  std::byte* data() { return memory_.data(); }
  std::size_t bytes() const { return memory_.bytes(); }

 private:
  static constexpr std::size_t gap = 64;
  std::vector<std::byte*> pages_;
  kernels::huge_buffer memory_;
  kernels::kv_view view_;
};

}  // namespace dlls::test

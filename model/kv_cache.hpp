// Keys and values of one sequence, for all layers.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "kernels/layout.hpp"
#include "model/kv_pool.hpp"
#include "model/llama_config.hpp"
#include "model/token.hpp"

namespace dlls::model {

class forward_scratch;

// Holds pages of a pool. One thread at a time with all others of the same pool; movable.
class kv_cache {
 public:
  // Empty; grows page by page with reserve().
  explicit kv_cache(std::shared_ptr<kv_pool> pool);
  // With a pool of its own, for `capacity` tokens (at least 1, rounded up to whole pages), all of
  // them reserved; memory is taken when a page is first written. f16 halves the memory and is what
  // the quantised path uses, q8_0 halves it again where the pool can hold it; f32 is for parity.
  // Throws std::bad_alloc.
  kv_cache(
      const llama_config& config, std::uint32_t capacity,
      kernels::element type = kernels::element::f16);
  kv_cache(kv_cache&& other) noexcept;
  ~kv_cache();

  std::uint32_t size() const noexcept { return size_; }  // tokens held
  // Tokens that there is room for.
  std::uint32_t capacity() const noexcept {
    return static_cast<std::uint32_t>(pages_.size()) * kv_page_tokens;
  }
  // False: the pool has too few pages left, and nothing changed.
  bool reserve(std::uint32_t capacity);
  // Forgets everything from token `size` on, which is neither beyond size() nor in a published
  // page. Pages stay reserved.
  void truncate(std::uint32_t size);
  // Forgets everything and gives all pages back.
  void clear() noexcept;

  // Shared prefixes; `tokens` are the sequence's from its first on. Takes over published pages that
  // continue what is held, where that is whole pages, leaving at least one of `tokens` to be
  // computed; gives how many tokens were gained. Whatever was reserved beyond is given back first.
  std::uint32_t adopt(std::span<const token_id> tokens);
  // The key of the page that comes next, when it begins with the next token and `tokens` fill it.
  std::optional<kv_page_key> next_key(std::span<const token_id> tokens);
  // Publishes the pages that are full.
  void publish(std::span<const token_id> tokens);

  // For forward(): one layer's view, good until pages change, and the token count after an append.
  kernels::kv_view layer(std::uint32_t index) const noexcept;
  void grow(std::uint32_t tokens);
  // For a sequence that is computed alone; made when first asked for.
  forward_scratch& scratch();

 private:
  void pop_page() noexcept;
  const kv_page_key& key_of(std::size_t page, std::span<const token_id> tokens);

  std::shared_ptr<kv_pool> pool_;
  std::uint32_t size_ = 0;
  std::vector<kv_page_id> pages_;
  std::vector<std::byte*> places_;  // of the pages
  std::vector<kv_page_key> keys_;   // of the first pages, as far as they were needed
  std::uint32_t published_ = 0;     // pages
  std::unique_ptr<forward_scratch> scratch_;
};

}  // namespace dlls::model

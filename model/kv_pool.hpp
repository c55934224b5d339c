// Pages for the key-value caches of one model, and the prefixes that sequences share.
//
// A page holds 64 positions of all layers (kernels/layout.hpp). Whoever holds a page holds it
// counted; one that is full may be published under the tokens it stands for, and is found by the
// next sequence that begins alike. Published pages that nobody holds stay, the ones left longest
// ago go first when a page is needed.
#pragma once
#include <cstdint>
#include <list>
#include <map>
#include <optional>
#include <span>
#include <vector>

#include "base/sha256.hpp"
#include "kernels/layout.hpp"
#include "kernels/memory.hpp"
#include "model/llama_config.hpp"
#include "model/token.hpp"

namespace dlls::model {

inline constexpr std::uint32_t kv_page_tokens = kernels::kv_page_positions;

// Pages that `tokens` tokens take.
constexpr std::uint32_t kv_pages_for(std::uint32_t tokens) noexcept {
  return tokens / kv_page_tokens + (tokens % kv_page_tokens != 0);
}

using kv_page_id = std::uint32_t;
// What a page stands for: all tokens of a sequence from its first to the page's last, hashed. Equal
// keys mean equal tokens as far as SHA-256 is collision-free: strangers' prompts share pages.
using kv_page_key = base::sha256_digest;

// One thread at a time.
class kv_pool {
 public:
  // Address space for `pages` pages of a type that it can hold; a page takes memory when it is
  // first written, and keeps it until trim(). Throws std::bad_alloc.
  kv_pool(const llama_config& config, std::uint32_t pages, kernels::element type);
  kv_pool(const kv_pool&) = delete;
  kv_pool& operator=(const kv_pool&) = delete;

  // f16, f32 (for parity), and q8_0, about half of f16, where a head is whole blocks of 32 numbers.
  static bool can_hold(const llama_config& config, kernels::element type) noexcept;
  static std::uint64_t page_bytes(const llama_config& config, kernels::element type) noexcept;
  std::uint32_t pages() const noexcept { return static_cast<std::uint32_t>(slots_.size()); }
  // What take() can give, published ones included.
  std::uint32_t available() const noexcept { return static_cast<std::uint32_t>(idle_.size()); }
  std::uint64_t page_bytes() const noexcept { return shape_.layer_bytes() * layers_; }
  const kernels::kv_shape& shape() const noexcept { return shape_; }
  // A page's part of the first layer, and from one layer's part to the next one's. One layer's
  // parts of all pages stand together, so that attention reads a sequence in long runs.
  std::byte* at(kv_page_id page) const noexcept {
    return memory_.data() + page * shape_.layer_bytes();
  }
  std::uint64_t layer_stride() const noexcept { return slots_.size() * shape_.layer_bytes(); }

  // A page of whatever content, held once; none: every page is held.
  std::optional<kv_page_id> take();
  void hold(kv_page_id page) noexcept;
  void release(kv_page_id page) noexcept;

  // The page with that key, held once more.
  std::optional<kv_page_id> find(const kv_page_key& key);
  // Makes a page that is held findable. No effect when another has the key already.
  void publish(kv_page_id page, const kv_page_key& key);
  // Forgets the published pages that nobody holds, and gives the memory of all such pages back.
  void trim();

  // The key of the page that follows one with key `before` (null: the first page).
  static kv_page_key key_of(const kv_page_key* before, std::span<const token_id> tokens);

 private:
  struct slot {
    std::uint32_t holders = 0;
    bool touched = false;
    std::optional<kv_page_key> key;
    std::list<kv_page_id>::iterator idle;  // while nobody holds it
  };
  void forget(slot& s) noexcept;
  void give_back(kv_page_id begin, kv_page_id end) noexcept;

  kernels::kv_shape shape_;
  std::uint32_t layers_;
  kernels::huge_buffer memory_;
  std::vector<slot> slots_;
  std::list<kv_page_id> idle_;  // the next to be taken first: those without a key, then by age
  std::map<kv_page_key, kv_page_id> by_key_;
};

}  // namespace dlls::model

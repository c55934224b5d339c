#include "model/kv_pool.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <utility>

#include "base/check.hpp"

namespace dlls::model {

kv_pool::kv_pool(const llama_config& config, std::uint32_t pages, kernels::element type)
    : shape_{type, config.kv_heads, config.head_dim}, layers_(config.layers), slots_(pages) {
  base::check(can_hold(config, type), "a cache of a type that it can hold");
  memory_ = kernels::huge_buffer(pages * page_bytes(), false);
  for (kv_page_id page = 0; page < pages; ++page)
    slots_[page].idle = idle_.insert(idle_.end(), page);
}

bool kv_pool::can_hold(const llama_config& config, kernels::element type) noexcept {
  using kernels::element;
  if (type == element::q8_0) return config.head_dim % kernels::block_values == 0;
  return type == element::f16 || type == element::f32;
}

std::uint64_t kv_pool::page_bytes(const llama_config& config, kernels::element type) noexcept {
  return kernels::kv_shape{type, config.kv_heads, config.head_dim}.layer_bytes() * config.layers;
}

std::optional<kv_page_id> kv_pool::take() {
  if (idle_.empty()) return std::nullopt;
  const auto page = idle_.front();
  idle_.pop_front();
  auto& s = slots_[page];
  forget(s);
  s.holders = 1;
  s.touched = true;
  return page;
}

void kv_pool::hold(kv_page_id page) noexcept {
  auto& s = slots_[page];
  if (s.holders++ == 0) idle_.erase(s.idle);
}

void kv_pool::release(kv_page_id page) noexcept {
  auto& s = slots_[page];
  base::check(s.holders > 0, "a page is released by who holds it");
  if (--s.holders > 0) return;
  s.idle = idle_.insert(s.key ? idle_.end() : idle_.begin(), page);
}

std::optional<kv_page_id> kv_pool::find(const kv_page_key& key) {
  const auto found = by_key_.find(key);
  if (found == by_key_.end()) return std::nullopt;
  hold(found->second);
  return found->second;
}

void kv_pool::publish(kv_page_id page, const kv_page_key& key) {
  auto& s = slots_[page];
  base::check(s.holders > 0, "a page is published by who holds it");
  if (s.key || !by_key_.emplace(key, page).second) return;
  s.key = key;
}

void kv_pool::forget(slot& s) noexcept {
  if (!s.key) return;
  by_key_.erase(*s.key);
  s.key.reset();
}

// The memory of pages [begin, end), as far as it is whole pages of the operating system.
void kv_pool::give_back(kv_page_id begin, kv_page_id end) noexcept {
  const auto unit = static_cast<std::uintptr_t>(sysconf(_SC_PAGESIZE));
  for (std::uint32_t layer = 0; layer < layers_; ++layer) {
    const auto start = reinterpret_cast<std::uintptr_t>(at(begin)) + layer * layer_stride();
    const auto first = (start + unit - 1) / unit * unit;
    const auto last = (start + (end - begin) * shape_.layer_bytes()) / unit * unit;
    if (first < last) madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED);
  }
}

void kv_pool::trim() {
  for (const auto page : idle_) forget(slots_[page]);
  // Neighbours together: a page alone need not begin or end where one of the system's does.
  for (kv_page_id begin = 0, end; begin < pages(); begin = end + 1) {
    bool touched = false;
    for (end = begin; end < pages() && slots_[end].holders == 0; ++end)
      touched |= std::exchange(slots_[end].touched, false);
    if (touched) give_back(begin, end);
  }
}

kv_page_key kv_pool::key_of(const kv_page_key* before, std::span<const token_id> tokens) {
  base::sha256 hash;
  if (before != nullptr) hash.update(*before);
  hash.update(std::as_bytes(tokens));
  return hash.finish();
}

}  // namespace dlls::model

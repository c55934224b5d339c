#include "model/kv_cache.hpp"

#include <algorithm>
#include <utility>

#include "base/check.hpp"
#include "model/forward_scratch.hpp"

namespace dlls::model {

kv_cache::kv_cache(std::shared_ptr<kv_pool> pool) : pool_(std::move(pool)) {}

kv_cache::kv_cache(const llama_config& config, std::uint32_t capacity, kernels::element type)
    : kv_cache(std::make_shared<kv_pool>(config, kv_pages_for(capacity), type)) {
  base::check(capacity > 0, "a cache holds at least one token");
  reserve(capacity);
}

kv_cache::kv_cache(kv_cache&& other) noexcept
    : pool_(std::move(other.pool_)),
      size_(std::exchange(other.size_, 0)),
      pages_(std::exchange(other.pages_, {})),
      places_(std::exchange(other.places_, {})),
      keys_(std::exchange(other.keys_, {})),
      published_(std::exchange(other.published_, 0)),
      scratch_(std::move(other.scratch_)) {}

kv_cache::~kv_cache() { clear(); }

void kv_cache::pop_page() noexcept {
  pool_->release(pages_.back());
  pages_.pop_back();
  places_.pop_back();
}

bool kv_cache::reserve(std::uint32_t capacity) {
  const auto before = pages_.size();
  const auto wanted = kv_pages_for(capacity);
  if (wanted > before + pool_->available()) return false;
  pages_.reserve(wanted);
  places_.reserve(wanted);
  while (pages_.size() < wanted) {
    pages_.push_back(*pool_->take());
    places_.push_back(pool_->at(pages_.back()));
  }
  return true;
}

void kv_cache::truncate(std::uint32_t size) {
  base::check(size <= size_, "a cache is cut, not stretched");
  base::check(size >= published_ * kv_page_tokens, "a published page stays as it is");
  size_ = size;
  keys_.resize(std::min<std::size_t>(keys_.size(), size / kv_page_tokens));
}

void kv_cache::clear() noexcept {
  while (!pages_.empty()) pop_page();
  keys_.clear();
  size_ = published_ = 0;
}

const kv_page_key& kv_cache::key_of(std::size_t page, std::span<const token_id> tokens) {
  while (keys_.size() <= page) {
    const auto own = tokens.subspan(keys_.size() * kv_page_tokens, kv_page_tokens);
    keys_.push_back(kv_pool::key_of(keys_.empty() ? nullptr : &keys_.back(), own));
  }
  return keys_[page];
}

std::uint32_t kv_cache::adopt(std::span<const token_id> tokens) {
  if (size_ % kv_page_tokens != 0) return 0;
  const auto before = size_;
  while (size_ + kv_page_tokens < tokens.size()) {
    const auto found = pool_->find(key_of(size_ / kv_page_tokens, tokens));
    if (!found) break;
    while (pages_.size() > size_ / kv_page_tokens) pop_page();
    pages_.push_back(*found);
    places_.push_back(pool_->at(*found));
    size_ += kv_page_tokens;
    published_ = size_ / kv_page_tokens;
  }
  return size_ - before;
}

std::optional<kv_page_key> kv_cache::next_key(std::span<const token_id> tokens) {
  if (size_ % kv_page_tokens != 0 || size_ + kv_page_tokens > tokens.size()) return std::nullopt;
  return key_of(size_ / kv_page_tokens, tokens);
}

void kv_cache::publish(std::span<const token_id> tokens) {
  for (; published_ < size_ / kv_page_tokens; ++published_)
    pool_->publish(pages_[published_], key_of(published_, tokens));
}

kernels::kv_view kv_cache::layer(std::uint32_t index) const noexcept {
  const auto& shape = pool_->shape();
  return {shape, places_.data(), places_.size(), index * pool_->layer_stride()};
}

void kv_cache::grow(std::uint32_t tokens) {
  base::check(tokens <= capacity() - size_, "tokens within the cache's capacity");
  size_ += tokens;
}

forward_scratch& kv_cache::scratch() {
  if (!scratch_) scratch_ = std::make_unique<forward_scratch>();
  return *scratch_;
}

}  // namespace dlls::model

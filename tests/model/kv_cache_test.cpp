// Pages, who holds them, and prefixes that sequences share.
#include "model/kv_cache.hpp"

#include <catch2/catch.hpp>
#include <numeric>

#include "base/random.hpp"

namespace dlls::model {
namespace {

constexpr llama_config config{
    .vocab = 10,
    .dim = 32,
    .layers = 2,
    .heads = 2,
    .kv_heads = 1,
    .head_dim = 16,
    .ff = 32,
    .context = 1000};

std::shared_ptr<kv_pool> pool_of(std::uint32_t pages) {
  return std::make_shared<kv_pool>(config, pages, kernels::element::f16);
}

std::vector<token_id> counted(std::size_t n, token_id from = 0) {
  std::vector<token_id> made(n);
  std::iota(made.begin(), made.end(), from);
  return made;
}

// As if computed.
void fill(kv_cache& cache, std::span<const token_id> tokens) {
  REQUIRE(cache.reserve(static_cast<std::uint32_t>(tokens.size())));
  cache.grow(static_cast<std::uint32_t>(tokens.size()) - cache.size());
  cache.publish(tokens);
}

TEST_CASE("a cache takes pages as it grows and gives them back") {
  const auto pool = pool_of(3);
  {
    kv_cache cache(pool);
    CHECK(cache.capacity() == 0);
    CHECK(cache.reserve(65));
    CHECK(cache.capacity() == 128);
    CHECK(pool->available() == 1);
    kv_cache other(pool);
    CHECK_FALSE(other.reserve(65));  // two pages, of which there is one
    CHECK(other.capacity() == 0);
    CHECK(other.reserve(64));
    cache.clear();
    CHECK(pool->available() == 2);
    kv_cache moved(std::move(other));
    CHECK(moved.capacity() == 64);
  }
  CHECK(pool->available() == 3);
}

TEST_CASE("a sequence that begins like another takes over its full pages") {
  const auto pool = pool_of(10);
  const auto tokens = counted(200);
  kv_cache first(pool);
  fill(first, tokens);
  CHECK(pool->available() == 6);

  kv_cache same(pool);
  CHECK(same.adopt(tokens) == 192);
  CHECK(same.size() == 192);
  CHECK(pool->available() == 6);
  CHECK(same.layer(1).pages[2] == first.layer(1).pages[2]);

  auto other = tokens;
  other[100] = 7;
  kv_cache half(pool);
  CHECK(half.adopt(other) == 64);
  // At least one token is left to compute: its logits are wanted.
  kv_cache exact(pool);
  CHECK(exact.adopt(std::span(tokens).first(128)) == 64);
  // The same tokens at another place are another page.
  kv_cache shifted(pool);
  CHECK(shifted.adopt(std::span(tokens).subspan(64)) == 0);

  // They outlive who computed them, and each holder.
  first.clear();
  same.clear();
  kv_cache later(pool);
  CHECK(later.adopt(tokens) == 192);
}

TEST_CASE("a sequence adopts on the way what another has computed meanwhile") {
  const auto pool = pool_of(10);
  const auto tokens = counted(200);
  kv_cache a(pool), b(pool);
  CHECK(b.adopt(tokens) == 0);
  REQUIRE(b.reserve(200));
  b.grow(64);
  fill(a, tokens);
  const auto before = pool->available();
  CHECK(b.adopt(tokens) == 128);
  CHECK(b.size() == 192);
  CHECK(pool->available() == before + 3);  // what it had reserved
  // Between pages there is nothing to adopt.
  kv_cache c(pool);
  REQUIRE(c.reserve(10));
  c.grow(10);
  CHECK(c.adopt(tokens) == 0);
}

TEST_CASE("pages that nobody holds are taken, those left longest ago first") {
  const auto pool = pool_of(4);
  const auto old = counted(65), young = counted(65, 5);
  for (const auto* tokens : {&old, &young}) {
    kv_cache cache(pool);
    fill(cache, *tokens);
  }
  CHECK(pool->available() == 4);
  kv_cache cache(pool);
  REQUIRE(cache.reserve(3 * kv_page_tokens));  // two empty ones and the oldest
  kv_cache like_old(pool), like_young(pool);
  CHECK(like_old.adopt(old) == 0);
  CHECK(like_young.adopt(young) == 64);
  CHECK(pool->available() == 0);
}

TEST_CASE("trim forgets what nobody holds") {
  const auto pool = pool_of(5);
  const auto tokens = counted(130);
  kv_cache held(pool);
  fill(held, tokens);
  {
    kv_cache cache(pool);
    fill(cache, counted(65, 7));
  }
  pool->trim();
  kv_cache like_gone(pool), like_held(pool);
  CHECK(like_gone.adopt(counted(65, 7)) == 0);
  CHECK(like_held.adopt(tokens) == 128);
  CHECK(held.size() == 130);
}

// All bytes of a cache, a layer and a page after the other.
template <class Fn>
void each_byte(kv_cache& cache, std::uint32_t layers, Fn fn) {
  for (std::uint32_t layer = 0; layer < layers; ++layer) {
    const auto view = cache.layer(layer);
    for (std::size_t page = 0; page < view.page_count; ++page)
      for (std::size_t i = 0; i < view.layer_bytes(); ++i)
        fn(view.pages[page][view.offset + i], static_cast<std::byte>(1 + layer * 16 + page));
  }
}

TEST_CASE("every layer of every page has memory of its own, and trim takes none that is held") {
  auto wide = config;
  wide.kv_heads = 3, wide.head_dim = 32, wide.layers = 4;
  const auto type = GENERATE(kernels::element::f16, kernels::element::q8_0);
  const auto pool = std::make_shared<kv_pool>(wide, 9, type);
  kv_cache first(pool), gone(pool), last(pool);
  for (auto* cache : {&first, &gone, &last}) {
    REQUIRE(cache->reserve(3 * 64));
    each_byte(*cache, wide.layers, [](std::byte& at, std::byte mark) { at = mark; });
  }
  const auto kept = [&](kv_cache& cache) {
    std::size_t n = 0;
    each_byte(cache, wide.layers, [&](std::byte at, std::byte mark) { n += at == mark; });
    return n;
  };
  const auto whole = 3 * pool->page_bytes();
  CHECK(kept(first) == whole);
  CHECK(kept(gone) == whole);
  gone.clear();
  pool->trim();
  CHECK(kept(first) == whole);
  CHECK(kept(last) == whole);
  REQUIRE(gone.reserve(3 * 64));
  CHECK(kept(gone) < whole);  // what is taken again begins as zeros
}

TEST_CASE("any order of holding, sharing and giving back leaves the pool whole") {
  const auto seed = std::random_device{}();
  INFO("seed " << seed);
  base::random_source random(seed);
  const auto pool = pool_of(12);
  {
    std::vector<std::unique_ptr<kv_cache>> caches;
    std::vector<std::vector<token_id>> texts;
    for (int step = 0; step < 3000; ++step) {
      if (caches.size() < 6 && random.below(2)) {
        auto text = counted(1 + random.below(400), static_cast<token_id>(random.below(2)));
        caches.push_back(std::make_unique<kv_cache>(pool));
        caches.back()->adopt(text);
        texts.push_back(std::move(text));
      } else if (!caches.empty()) {
        const auto i = random.below(caches.size());
        auto& cache = *caches[i];
        const auto left = texts[i].size() - cache.size();
        const auto more =
            static_cast<std::uint32_t>(std::min<std::size_t>(left, 1 + random.below(90)));
        if (left == 0 || random.below(8) == 0 || !cache.reserve(cache.size() + more)) {
          caches.erase(caches.begin() + static_cast<std::ptrdiff_t>(i));
          texts.erase(texts.begin() + static_cast<std::ptrdiff_t>(i));
          continue;
        }
        // A page that others may see is never the one that is written next.
        const auto page = cache.size() / kv_page_tokens;
        for (std::size_t other = 0; other < caches.size(); ++other) {
          if (other == i || caches[other]->capacity() <= page * kv_page_tokens) continue;
          CHECK(caches[other]->layer(0).pages[page] != cache.layer(0).pages[page]);
        }
        cache.grow(more);
        cache.publish(texts[i]);
        if (random.below(4) == 0) cache.adopt(texts[i]);
      }
      if (random.below(50) == 0) pool->trim();
    }
  }
  CHECK(pool->available() == 12);
}

}  // namespace
}  // namespace dlls::model

// Attention against a plain softmax in double precision.
#include <catch2/catch.hpp>
#include <cmath>
#include <memory>

#include "kernels/ops.hpp"
#include "tests/kernels/kernel_cases.hpp"
#include "tests/kernels/kv_memory.hpp"

namespace dlls::kernels {
namespace {

struct shape {
  std::size_t heads, kv_heads, head_dim, first, rows;
  std::size_t window = 0;
};

class attention_case {
 public:
  attention_case(const shape& s, element type, std::uint64_t seed)
      : s_(s), cache_({type, s.kv_heads, s.head_dim}, s.first + s.rows) {
    base::random_source random(seed);
    const auto length = s.first + s.rows;
    spoil(0);
    k_ = test::random_floats(random, length * s.kv_heads * s.head_dim, -2, 2);
    v_ = test::random_floats(random, k_.size());
    for (auto& x : v_)
      if (random.below(4) == 0) x = 0;  // which whatever is not seen must leave a 0
    for (std::size_t p = 0; p < length; ++p)
      kv_store(
          cache_.view(), p, &k_[p * s.kv_heads * s.head_dim], &v_[p * s.kv_heads * s.head_dim]);
    q_ = test::random_floats(random, s.rows * s.heads * s.head_dim, -2, 2);
    for (auto* numbers : {&k_, &v_}) *numbers = as_kept(*numbers, type);
    kept_q_ = q_;
    if (type != element::q8_0) return;
    const float scale = 1 / std::sqrt(static_cast<float>(s.head_dim));
    for (auto& x : kept_q_) x *= scale;
    kept_q_ = quantised(kept_q_, false);
    for (auto& x : kept_q_) x /= scale;
  }

  std::vector<float> run(std::size_t threads) {
    thread_pool pool(threads);
    const auto width = s_.heads * s_.head_dim;
    test::guarded<float> out(s_.rows * width);
    attention_rows a[] = {rows(out.data(), 0, s_.rows)};
    test::guarded<float> scratch(attention_scratch(a));
    attention(pool, a, scratch.data());
    CHECK(out.intact());
    CHECK(scratch.intact());
    return {out.values().begin(), out.values().end()};
  }

  // The rows [begin, end) as attention() takes them.
  attention_rows rows(float* out, std::size_t begin, std::size_t end) const {
    const auto width = s_.heads * s_.head_dim;
    return {out,      &q_[begin * width], width,         width,    end - begin,
            s_.heads, s_.first + begin,   cache_.view(), s_.window};
  }
  std::size_t width() const { return s_.heads * s_.head_dim; }

  std::vector<double> expected() const {
    const auto dim = s_.head_dim, group = s_.heads / s_.kv_heads;
    std::vector<double> out(q_.size());
    for (std::size_t row = 0; row < s_.rows; ++row)
      for (std::size_t h = 0; h < s_.heads; ++h) {
        const auto at = (row * s_.heads + h) * dim;
        std::vector<double> weight(s_.first + row + 1);
        double total = 0;
        const auto seen = s_.window == 0 ? weight.size() : std::min(s_.window, weight.size());
        for (auto p = weight.size() - seen; p < weight.size(); ++p) {
          double dot = 0;
          for (std::size_t i = 0; i < dim; ++i)
            dot += double{kept_q_[at + i]} * k_[(p * s_.kv_heads + h / group) * dim + i];
          total += weight[p] = std::exp(dot / std::sqrt(static_cast<double>(dim)));
        }
        for (std::size_t p = 0; p < weight.size(); ++p)
          for (std::size_t i = 0; i < dim; ++i)
            out[at + i] += weight[p] / total * v_[(p * s_.kv_heads + h / group) * dim + i];
      }
    return out;
  }

 private:
  // What a cache, or a query that meets it, makes of numbers.
  static std::vector<float> as_kept(std::vector<float> numbers, element type) {
    if (type == element::q8_0) return quantised(numbers, true);
    if (type == element::f16)
      for (auto& x : numbers) x = from_half(to_half(x));
    return numbers;
  }
  static std::vector<float> quantised(std::vector<float> numbers, bool half_scale) {
    std::vector<q8_block> blocks(numbers.size() / block_values);
    quantise_q8(blocks.data(), numbers.data(), numbers.size());
    for (std::size_t i = 0; i < numbers.size(); ++i) {
      const auto& b = blocks[i / block_values];
      const auto d = half_scale ? from_half(to_half(b.d)) : b.d;
      numbers[i] = d * static_cast<float>(b.q[i % block_values]);
    }
    return numbers;
  }

  // What nobody has stored must not be looked at: NaN, as f16 and as f32.
  void spoil(std::size_t from) {
    std::fill_n(cache_.data() + from, cache_.bytes() - from, std::byte{0x7F});
    // Numbers behind a value's head stay zero.
    const auto& v = cache_.view();
    for (std::size_t page = 0; page < v.page_count; ++page)
      for (std::size_t head = 0; head < v.kv_heads; ++head)
        std::fill_n(v.values(page, head), v.head_value_bytes(), std::byte{0});
  }

  shape s_;
  test::kv_memory cache_;
  std::vector<float> k_, v_, q_, kept_q_;
};

// One query and many, alone and in groups, before and behind block and chunk borders.
constexpr shape shapes[] = {
    {1, 1, 16, 0, 1},
    {9, 3, 64, 0, 1},
    {9, 3, 64, 5, 1},
    {9, 3, 64, 255, 1},
    {9, 3, 64, 256, 1},
    {9, 3, 64, 700, 1},
    {4, 4, 64, 40, 1},
    {8, 1, 32, 1000, 1},
    {9, 3, 64, 0, 64},
    {9, 3, 64, 0, 65},
    {9, 3, 64, 61, 40},
    {2, 1, 8, 3, 17},
    {2, 2, 128, 10, 70},
    {64, 1, 16, 30, 2},
    {6, 2, 24, 0, 33},
    {4, 2, 256, 3, 9},
    {9, 3, 64, 300, 16},
    {12, 2, 80, 129, 50},
    // Windows of one position, within and across pages and chunks.
    {2, 1, 16, 40, 9, 1},
    {9, 3, 64, 700, 1, 5},
    {9, 3, 64, 700, 1, 300},
    {4, 1, 256, 0, 150, 64},
    {4, 4, 64, 130, 90, 65},
    {2, 2, 32, 600, 1, 601},
    {4, 2, 32, 700, 60, 20},
    {2, 2, 32, 0, 70, 1000}};

// A cache of q8_0 takes whole blocks.
bool can_hold(element type, const shape& s) {
  return type != element::q8_0 || s.head_dim % block_values == 0;
}

TEST_CASE("attention agrees with a plain softmax in double precision") {
  const auto seed = test::fresh_seed();
  INFO("seed " << seed);
  test::with_each_isa([&](const inference_ops&) {
    for (const auto& s : shapes)
      for (const auto type : {element::f16, element::f32, element::q8_0}) {
        if (!can_hold(type, s)) continue;
        INFO(
            "heads " << s.heads << "/" << s.kv_heads << " of " << s.head_dim << ", first "
                     << s.first << ", rows " << s.rows << ", window " << s.window << ", type "
                     << static_cast<int>(type));
        attention_case c(s, type, seed);
        const auto once = c.run(1);
        CHECK(test::worst_error(once, c.expected()) < 3e-6);
        CHECK(c.run(3) == once);  // whatever the number of threads
      }
  });
}

// Continuous batching and chunked prefill rest on it.
TEST_CASE("a row's attention does not depend on what is computed beside it") {
  const auto seed = test::fresh_seed();
  INFO("seed " << seed);
  test::with_each_isa([&](const inference_ops&) {
    for (const auto type : {element::f16, element::f32, element::q8_0}) {
      base::random_source random(seed);
      std::vector<std::unique_ptr<attention_case>> cases;
      std::vector<std::vector<float>> together, alone;
      std::vector<attention_rows> sequences;
      for (const auto& s : shapes) {
        if (!can_hold(type, s)) continue;
        cases.push_back(std::make_unique<attention_case>(s, type, seed));
        auto& one = *cases.back();
        for (auto* into : {&together, &alone}) into->emplace_back(s.rows * one.width());
        // All sequences at once, each in pieces of any length.
        for (std::size_t row = 0; row < s.rows;) {
          const auto end = row + 1 + random.below(s.rows - row);
          sequences.push_back(one.rows(&together.back()[row * one.width()], row, end));
          row = end;
        }
        sequences.push_back(one.rows(nullptr, 0, 0));  // one with nothing to do
        for (std::size_t row = 0; row < s.rows; ++row) {
          attention_rows single[] = {one.rows(&alone.back()[row * one.width()], row, row + 1)};
          std::vector<float> scratch(attention_scratch(single));
          thread_pool pool(1);
          attention(pool, single, scratch.data());
        }
      }
      thread_pool pool(3);
      test::guarded<float> scratch(attention_scratch(sequences));
      attention(pool, sequences, scratch.data());
      CHECK(scratch.intact());
      for (std::size_t i = 0; i < together.size(); ++i) {
        INFO("shape " << i << ", type " << static_cast<int>(type));
        CHECK(test::worst_error(together[i], alone[i]) == 0);
      }
    }
  });
}

TEST_CASE("a very large score does not overflow the weights") {
  test::with_each_isa([](const inference_ops&) {
    const test::kv_memory cache({element::f32, 1, 16}, 16);
    std::vector<float> key(16), value(16);
    for (std::size_t p = 0; p < 3; ++p) {
      std::fill(key.begin(), key.end(), p == 1 ? 1000.0f : -1000.0f);
      std::fill(value.begin(), value.end(), static_cast<float>(p));
      kv_store(cache.view(), p, key.data(), value.data());
    }
    std::vector<float> q(16, 1000.0f), out(16);
    attention_rows a[] = {{out.data(), q.data(), 16, 16, 1, 1, 2, cache.view()}};
    std::vector<float> scratch(attention_scratch(a));
    thread_pool pool(1);
    attention(pool, a, scratch.data());
    CHECK(test::worst_error(out, std::vector<float>(16, 1.0f)) < 1e-6);
  });
}

}  // namespace
}  // namespace dlls::kernels

// The training operations of every instruction set against the reference in double: odd sizes, and
// nothing written beside the outputs.
#include "kernels/training.hpp"

#include <catch2/catch.hpp>
#include <cmath>
#include <vector>

#include "base/random.hpp"
#include "kernels/dispatch.hpp"

namespace dlls::kernels {
namespace {

constexpr std::size_t guard = 24;
constexpr double untouched = 12345.0;

// The same numbers in both arithmetics (rounded to float first), with sentinels on both sides.
struct twin {
  explicit twin(std::size_t n) : size(n), f(n + 2 * guard, float(untouched)), d(n) {}
  twin(std::size_t n, base::random_source& random, double scale = 1.0) : twin(n) {
    for (std::size_t i = 0; i < n; ++i) {
      f[guard + i] = float((random.uniform() * 2 - 1) * scale);
      d[i] = double(f[guard + i]);
    }
  }
  float* fast() { return f.data() + guard; }
  double* exact() { return d.data(); }
  // Largest difference over the largest value; the sentinels must stand. Where every value nearly
  // cancels, what counts is the rounding of the numbers it was made of: a tenth of their `scale`.
  double error(double scale = 1.0) const {
    double largest = 0.1 * scale, difference = 0;
    for (std::size_t i = 0; i < size; ++i) {
      largest = std::max(largest, std::abs(d[i]));
      difference = std::max(difference, std::abs(d[i] - double(f[guard + i])));
    }
    for (std::size_t i = 0; i < guard; ++i)
      if (f[i] != float(untouched) || f[guard + size + i] != float(untouched)) return 1e9;
    return difference / largest;
  }
  std::size_t size;
  std::vector<float> f;
  std::vector<double> d;
};

constexpr double tolerance = 2e-6;

// Runs `test(fast, exact, random)` on every instruction set that is here.
template <class Test>
void on_each_isa(Test test) {
  for (const auto which : {isa::scalar, isa::avx2, isa::avx512}) {
    if (!available(which)) {
      WARN("skipped on this machine: " << name(which));
      continue;
    }
    const std::uint64_t seed = Catch::rngSeed();
    INFO("operations " << name(which) << ", --rng-seed " << seed);
    base::random_source random(seed);
    const auto& fast = training_ops_for(which);
    REQUIRE(fast.name == name(which));
    test(fast, reference_training_ops(), random);
  }
}

}  // namespace

TEST_CASE("RMSNorm and its gradient agree with the reference on every instruction set") {
  on_each_isa([](const auto& fast, const auto& exact, auto& random) {
    for (const std::size_t dim : {1, 7, 8, 16, 31, 48, 288, 577}) {
      const std::size_t rows = 3;
      INFO("dim " << dim);
      twin x(rows * dim, random), weight(dim, random), y(rows * dim), rstd(rows);
      fast.rms_norm(y.fast(), rstd.fast(), x.fast(), weight.fast(), rows, dim, 1e-5);
      exact.rms_norm(y.exact(), rstd.exact(), x.exact(), weight.exact(), rows, dim, 1e-5);
      CHECK(y.error() < tolerance);
      CHECK(rstd.error() < tolerance);
      twin dy(rows * dim, random), dx(rows * dim, random), dweight(dim, random);
      fast.rms_norm_backward(
          dx.fast(), dweight.fast(), dy.fast(), x.fast(), weight.fast(), rstd.fast(), rows, dim);
      exact.rms_norm_backward(
          dx.exact(), dweight.exact(), dy.exact(), x.exact(), weight.exact(), rstd.exact(), rows,
          dim);
      CHECK(dx.error() < tolerance * 5);
      CHECK(dweight.error() < tolerance * 5);
    }
  });
}

TEST_CASE("RoPE turns forth as the reference does, and back to where it began") {
  on_each_isa([](const auto& fast, const auto& exact, auto& random) {
    for (const std::size_t head_dim : {2, 6, 8, 16, 48, 64, 128}) {
      INFO("head_dim " << head_dim);
      const std::size_t rows = 5, heads = 3, stride = heads * head_dim + 4;
      twin x(rows * stride, random), table(rows * head_dim);
      for (std::size_t i = 0; i < table.size; i += 2)
        for (const bool odd : {false, true}) {
          const double value = odd ? std::sin(double(i)) : std::cos(double(i));
          table.exact()[i + odd] = double(table.fast()[i + odd] = float(value));
        }
      const std::vector<std::uint32_t> positions{4, 0, 1, 3, 2};
      const twin before = x;
      fast.rope(x.fast(), table.fast(), positions.data(), rows, stride, heads, head_dim, false);
      exact.rope(x.exact(), table.exact(), positions.data(), rows, stride, heads, head_dim, false);
      CHECK(x.error() < tolerance);
      fast.rope(x.fast(), table.fast(), positions.data(), rows, stride, heads, head_dim, true);
      for (std::size_t i = 0; i < x.size; ++i)
        CHECK(x.fast()[i] == Approx(before.d[i]).margin(1e-5));
    }
  });
}

TEST_CASE("attention and its gradient agree with the reference on every instruction set") {
  on_each_isa([](const auto& fast, const auto& exact, auto& random) {
    for (const std::size_t tokens : {1, 2, 5, 16, 31, 33, 64, 97})
      for (const std::size_t head_dim : {2, 8, 16, 48, 64, 66, 256}) {
        INFO(tokens << " tokens, head_dim " << head_dim);
        const std::size_t in = 3 * head_dim + 5, out_row = head_dim + 3;
        const attention_shape s{tokens, head_dim, in, out_row};
        twin qkv(tokens * in, random), out(tokens * out_row, random), lse(tokens);
        std::vector<float> scratch(fast.attention_scratch(s));
        std::vector<double> exact_scratch(exact.attention_scratch(s));
        const auto f = [&](twin& t, std::size_t part) { return t.fast() + part * head_dim; };
        const auto e = [&](twin& t, std::size_t part) { return t.exact() + part * head_dim; };
        fast.attention(out.fast(), lse.fast(), f(qkv, 0), f(qkv, 1), f(qkv, 2), s, scratch.data());
        exact.attention(
            out.exact(), lse.exact(), e(qkv, 0), e(qkv, 1), e(qkv, 2), s, exact_scratch.data());
        CHECK(out.error() < tolerance);
        CHECK(lse.error() < tolerance * 5);
        twin dout(tokens * out_row, random), d(tokens * in, random);
        fast.attention_backward(
            f(d, 0), f(d, 1), f(d, 2), dout.fast(), out.fast(), lse.fast(), f(qkv, 0), f(qkv, 1),
            f(qkv, 2), s, scratch.data());
        exact.attention_backward(
            e(d, 0), e(d, 1), e(d, 2), dout.exact(), out.exact(), lse.exact(), e(qkv, 0), e(qkv, 1),
            e(qkv, 2), s, exact_scratch.data());
        CHECK(d.error() < tolerance * 5);
      }
  });
}

TEST_CASE("SwiGLU and its gradient agree with the reference, far out too") {
  on_each_isa([](const auto& fast, const auto& exact, auto& random) {
    for (const std::size_t ff : {1, 9, 16, 77})
      for (const double scale : {1.0, 30.0, 200.0}) {
        INFO("ff " << ff << ", scale " << scale);
        const std::size_t rows = 2;
        twin gate_up(rows * 2 * ff, random, scale), act(rows * ff), dact(rows * ff, random);
        fast.swiglu(act.fast(), gate_up.fast(), rows, ff);
        exact.swiglu(act.exact(), gate_up.exact(), rows, ff);
        CHECK(act.error(scale) < tolerance);
        fast.swiglu_backward(gate_up.fast(), dact.fast(), rows, ff);
        exact.swiglu_backward(gate_up.exact(), dact.exact(), rows, ff);
        CHECK(gate_up.error(scale) < tolerance);
        CHECK(dact.error(scale) < tolerance);
      }
  });
}

TEST_CASE("cross entropy and its gradient agree with the reference; uncounted rows give zeros") {
  on_each_isa([](const auto& fast, const auto& exact, auto& random) {
    for (const std::size_t vocab : {2, 15, 64, 4096, 5001})
      for (const double scale : {1.0, 60.0}) {
        INFO("vocab " << vocab << ", scale " << scale);
        const std::size_t rows = 3;
        twin logits(rows * vocab, random, scale);
        const std::vector<std::int32_t> targets{
            std::int32_t(vocab - 1), no_target, std::int32_t(random.below(vocab))};
        const double ours = fast.cross_entropy(logits.fast(), targets.data(), rows, vocab, 0.25);
        const double wanted =
            exact.cross_entropy(logits.exact(), targets.data(), rows, vocab, 0.25);
        // A relative error of the sum is an absolute one of its logarithm: near a loss of nothing
        // only that can be asked for.
        CHECK(ours == Approx(wanted).epsilon(1e-6).margin(rows * 5e-7));
        CHECK(logits.error() < tolerance * 2);
        for (std::size_t i = 0; i < vocab; ++i) CHECK(logits.fast()[vocab + i] == 0.0F);
      }
  });
}

TEST_CASE("cross entropy of a row with a NaN is NaN") {
  on_each_isa([](const auto& fast, const auto&, auto& random) {
    for (const std::size_t at : {0, 5, 16, 32, 36}) {
      twin logits(37, random);
      logits.fast()[at] = std::numeric_limits<float>::quiet_NaN();
      const std::int32_t target = 3;
      CHECK(std::isnan(fast.cross_entropy(logits.fast(), &target, 1, 37, 1.0)));
    }
  });
}

TEST_CASE("AdamW, sums and additions agree with the reference on every instruction set") {
  on_each_isa([](const auto& fast, const auto& exact, auto& random) {
    for (const std::size_t n : {1, 7, 16, 33, 4096, 4097, 10000}) {
      INFO("n " << n);
      twin w(n, random), m(n, random, 0.1), v(n, random, 0.1), g(n, random);
      for (std::size_t i = 0; i < n; ++i)
        v.exact()[i] = double(v.fast()[i] = std::abs(v.fast()[i]));
      for (std::uint64_t step : {1, 7}) {
        const adamw_step s{1e-2, 0.9, 0.95, 1e-8, 0.1, 0.5, step};
        fast.adamw(w.fast(), m.fast(), v.fast(), g.fast(), n, s);
        exact.adamw(w.exact(), m.exact(), v.exact(), g.exact(), n, s);
      }
      CHECK(w.error() < tolerance);
      CHECK(m.error() < tolerance);
      CHECK(v.error() < tolerance);
      CHECK(
          fast.sum_of_squares(g.fast(), n) ==
          Approx(exact.sum_of_squares(g.exact(), n)).epsilon(1e-6));
      fast.add(w.fast(), g.fast(), n);
      exact.add(w.exact(), g.exact(), n);
      CHECK(w.error() < tolerance);
    }
  });
}

}  // namespace dlls::kernels

// Norms, rotations, activations and sums against the scalar twin in double precision.
#include <catch2/catch.hpp>
#include <cmath>

#include "kernels/cpu/scalar/rows.hpp"
#include "kernels/ops.hpp"
#include "tests/kernels/kernel_cases.hpp"

namespace dlls::kernels {
namespace {

constexpr std::size_t lengths[] = {1, 2, 15, 16, 17, 31, 33, 64, 576, 1000, 1536, 5003};

TEST_CASE("the norm of a row agrees with double precision, also in place") {
  test::with_each_isa([](const inference_ops&) {
    base::random_source random(1);
    for (const auto n : lengths) {
      INFO("n " << n);
      const auto x = test::random_floats(random, n, -3, 3), w = test::random_floats(random, n);
      std::vector<double> expected(n);
      scalar::rms_norm<double>(
          expected.data(), test::widened(x).data(), test::widened(w).data(), n, 1e-5);
      test::guarded<float> out(n);
      rms_norm(out.data(), x.data(), w.data(), n, 1e-5f);
      CHECK(out.intact());
      CHECK(test::worst_error(out.values(), expected) < 2e-6);
      std::copy(x.begin(), x.end(), out.data());
      rms_norm(out.data(), out.data(), w.data(), n, 1e-5f);
      CHECK(test::worst_error(out.values(), expected) < 2e-6);
    }
    std::vector<float> zero(40), one(40, 1.0f), out(40);
    rms_norm(out.data(), zero.data(), one.data(), 40, 1e-5f);
    CHECK(out == zero);
  });
}

TEST_CASE("rotations agree with double precision for both orders of pairs") {
  test::with_each_isa([](const inference_ops&) {
    base::random_source random(2);
    for (const std::size_t dim : {2, 6, 16, 48, 64, 80, 128})
      for (const auto pairs : {rope_pairs::adjacent, rope_pairs::halves}) {
        INFO("head_dim " << dim);
        const std::size_t heads = 3;
        const auto x = test::random_floats(random, heads * dim, -2, 2);
        std::vector<float> table(dim);
        for (std::size_t i = 0; i < dim; i += 2) {
          const double angle = 100 * random.uniform();
          table[i] = static_cast<float>(std::cos(angle));
          table[i + 1] = static_cast<float>(std::sin(angle));
        }
        auto expected = test::widened(x);
        scalar::rope<double>(expected.data(), test::widened(table).data(), heads, dim, pairs);
        test::guarded<float> out(x.size());
        std::copy(x.begin(), x.end(), out.data());
        rope(out.data(), table.data(), heads, dim, pairs);
        CHECK(out.intact());
        CHECK(test::worst_error(out.values(), expected) < 1e-6);
      }
  });
}

// of(out, gate, up, n) against exact(out, gate, up, n), which has the arithmetic of its arguments.
template <class Of, class Exact>
void check_gate(std::uint64_t seed, Of of, Exact exact) {
  test::with_each_isa([&](const inference_ops&) {
    base::random_source random(seed);
    for (const auto n : lengths) {
      INFO("n " << n);
      auto gate = test::random_floats(random, n, -20, 20);
      const auto up = test::random_floats(random, n);
      gate[0] = n % 2 == 0 ? 500.0f : -500.0f;
      std::vector<double> expected(n);
      exact(expected.data(), test::widened(gate).data(), test::widened(up).data(), n);
      test::guarded<float> out(n);
      of(out.data(), gate.data(), up.data(), n);
      CHECK(out.intact());
      CHECK(
          test::worst_error(out.values(), expected, std::max(1.0, std::fabs(double{gate[0]}))) <
          4e-6);
    }
  });
}

TEST_CASE("swiglu agrees with double precision, from saturation to saturation") {
  check_gate(3, swiglu, scalar::swiglu<double>);
}

TEST_CASE("geglu agrees with double precision, from saturation to saturation") {
  check_gate(7, geglu, scalar::geglu<double>);
}

TEST_CASE("sums add up") {
  test::with_each_isa([](const inference_ops&) {
    base::random_source random(4);
    for (const auto n : lengths) {
      const auto x = test::random_floats(random, n), y = test::random_floats(random, n);
      test::guarded<float> out(n);
      std::copy(y.begin(), y.end(), out.data());
      add(out.data(), x.data(), n);
      CHECK(out.intact());
      for (std::size_t i = 0; i < n; ++i) REQUIRE(out[i] == y[i] + x[i]);
    }
  });
}

TEST_CASE("softmax and the log of the sum of exponentials agree with double precision") {
  test::with_each_isa([](const inference_ops&) {
    base::random_source random(5);
    for (const auto n : lengths)
      for (const double reach : {0.0, 1.0, 30.0, 200.0}) {
        INFO("n " << n << ", reach " << reach);
        const auto x = test::random_floats(random, n, -reach, reach);
        auto expected = test::widened(x);
        const double log_sum = scalar::log_sum_exp<double>(expected.data(), n);
        CHECK(log_sum_exp(x.data(), n) == Approx(log_sum).margin(3e-6).epsilon(3e-7));
        scalar::softmax<double>(expected.data(), n);
        test::guarded<float> out(n);
        std::copy(x.begin(), x.end(), out.data());
        softmax(out.data(), n);
        CHECK(out.intact());
        CHECK(test::worst_error(out.values(), expected) < 2e-6);
      }
  });
}

TEST_CASE("quantised activations are the nearest ones, and carry their sums") {
  test::with_each_isa([](const inference_ops&) {
    base::random_source random(6);
    for (const std::size_t n : {32, 64, 1536}) {
      auto x = test::random_floats(random, n, -5, 5);
      if (n == 64) std::fill_n(x.begin(), 32, 0.0f);
      test::guarded<q8_block> out(n / block_values);
      quantise_q8(out.data(), x.data(), n);
      CHECK(out.intact());
      for (std::size_t i = 0; i < n; ++i) {
        const auto& b = out[i / block_values];
        REQUIRE(std::fabs(b.d * b.q[i % block_values] - x[i]) <= 0.5001 * b.d);
      }
      for (const auto& b : out.values()) {
        int sum[2] = {}, most = 0;
        for (std::size_t j = 0; j < block_values; ++j) {
          sum[j / 16] += b.q[j];
          most = std::max(most, std::abs(int{b.q[j]}));
        }
        CHECK(b.sum == b.d * static_cast<float>(sum[0] + sum[1]));
        for (int half = 0; half < 2; ++half)
          CHECK(b.half_sum[half] == b.d * static_cast<float>(sum[half]));
        CHECK((most == 127 || b.d == 0));
      }
    }
  });
}

}  // namespace
}  // namespace dlls::kernels

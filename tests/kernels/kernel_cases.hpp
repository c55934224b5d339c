// What kernel tests share: every instruction set in turn, guarded outputs, random inputs.
#pragma once
#include <catch2/catch.hpp>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "base/random.hpp"
#include "kernels/backend.hpp"
#include "kernels/dispatch.hpp"

namespace dlls::test {

// Calls fn(table) with each instruction set forced in turn; one that this machine lacks is seen to
// be skipped.
template <class Fn>
void with_each_isa(Fn fn) {
  using kernels::isa;
  const auto before = kernels::active();
  for (const auto which : {isa::scalar, isa::avx2, isa::avx512}) {
    if (!kernels::available(which)) {
      WARN("SKIPPED: this machine has no " << kernels::name(which));
      continue;
    }
    REQUIRE(kernels::force(which));
    INFO("kernels " << kernels::name(which));
    fn(kernels::inference_backend());
  }
  REQUIRE(kernels::force(before));
}

// Another seed in every run; Catch prints the INFO when a check fails.
inline std::uint64_t fresh_seed() { return std::random_device{}(); }

inline std::vector<float> random_floats(
    base::random_source& random, std::size_t n, double least = -1, double most = 1) {
  std::vector<float> made(n);
  for (auto& x : made) x = static_cast<float>(least + (most - least) * random.uniform());
  return made;
}

template <class T>
std::vector<double> widened(const std::vector<T>& from) {
  return {from.begin(), from.end()};
}

// n values between two walls of sentinels; intact() says whether anybody wrote over a wall.
template <class T>
class guarded {
 public:
  explicit guarded(std::size_t n) : all_(n + 2 * wall) {
    std::memset(static_cast<void*>(all_.data()), 0x5A, all_.size() * sizeof(T));
  }
  T* data() { return all_.data() + wall; }
  std::span<T> values() { return {data(), all_.size() - 2 * wall}; }
  T& operator[](std::size_t i) { return data()[i]; }
  bool intact() const {
    const auto* bytes = reinterpret_cast<const unsigned char*>(all_.data());
    const auto untouched = [&](std::size_t from, std::size_t to) {
      for (auto i = from * sizeof(T); i < to * sizeof(T); ++i)
        if (bytes[i] != 0x5A) return false;
      return true;
    };
    return untouched(0, wall) && untouched(all_.size() - wall, all_.size());
  }

 private:
  static constexpr std::size_t wall = 32;
  std::vector<T> all_;
};

// The largest |a - b| over a scale; NaN anywhere gives infinity.
template <class A, class B>
double worst_error(const A& a, const B& b, double scale = 1) {
  double worst = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double off = std::fabs(static_cast<double>(a[i]) - static_cast<double>(b[i])) / scale;
    if (!(off <= worst)) worst = std::isnan(off) ? INFINITY : off;
  }
  return worst;
}

template <class T>
double largest_magnitude(const T& values) {
  double most = 0;
  for (const auto v : values) most = std::max(most, std::fabs(static_cast<double>(v)));
  return most;
}

}  // namespace dlls::test

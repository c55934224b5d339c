// Chance comes from outside too: a seeded generator for what must replay, the kernel's for secrets.
#pragma once
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>

namespace dlls::base {

// SplitMix64 (Steele, Lea, Flood 2014): eight bytes of state, every seed is good, meets
// UniformRandomBitGenerator. The same seed gives the same sequence on every machine. Not for
// secrets.
class random_source {
 public:
  using result_type = std::uint64_t;
  explicit random_source(std::uint64_t seed) noexcept : state_(seed) {}
  static constexpr result_type min() { return 0; }
  static constexpr result_type max() { return std::numeric_limits<result_type>::max(); }
  result_type operator()() noexcept {
    auto z = (state_ += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
  }
  // Uniform in [0, 1), 53 bits.
  double uniform() noexcept { return static_cast<double>((*this)() >> 11) * 0x1.0p-53; }
  // In [0, bound); bound > 0. The bias of the remainder is below bound / 2^64.
  std::uint64_t below(std::uint64_t bound) noexcept { return (*this)() % bound; }
  std::uint64_t state() const noexcept { return state_; }

 private:
  std::uint64_t state_;
};

// getrandom(2). Aborts when the kernel refuses: nothing here may run with guessable secrets.
void secure_random(std::span<std::byte> out) noexcept;
std::uint64_t secure_random_u64() noexcept;

// `prefix` and 26 random characters of [a-z0-9] (134 bits): "ftjob-k3v...", "file-...".
std::string random_id(std::string_view prefix);

}  // namespace dlls::base

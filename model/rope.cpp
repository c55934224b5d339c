#include "model/rope.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace dlls::model {
namespace {

constexpr double full_turn = 2 * std::numbers::pi;

// LLaMA 3.1's: pairs that turn often within the trained context stay, those that turn rarely are
// slowed by the whole factor, and what lies between is mixed.
double llama3(const rope_scaling& s, double frequency) {
  const double turns = s.trained * frequency / full_turn;
  const double kept =
      std::clamp((turns - s.low_factor) / (double{s.high_factor} - s.low_factor), 0.0, 1.0);
  return frequency * (kept + (1 - kept) / s.factor);
}

// YaRN (Peng et al. 2023, section 3.2): the same idea, but the ramp runs along the pair's index,
// between the pairs that turn fast_turns and slow_turns times. The borders are whole pairs.
class yarn_ramp {
 public:
  yarn_ramp(const rope_scaling& s, std::uint32_t head_dim, double base) {
    const auto pair_that_turns = [&](double times) {
      return head_dim * std::log(s.trained / (times * full_turn)) / (2 * std::log(base));
    };
    first_ = std::max(0.0, std::floor(pair_that_turns(s.fast_turns)));
    last_ = std::min(head_dim - 1.0, std::ceil(pair_that_turns(s.slow_turns)));
  }
  double operator()(const rope_scaling& s, double frequency, std::uint32_t pair) const {
    const double slowed = std::clamp((pair - first_) / std::max(0.001, last_ - first_), 0.0, 1.0);
    return frequency * (1 - slowed + slowed / s.factor);
  }

 private:
  double first_, last_;
};

}  // namespace

rope_speeds make_rope(
    std::uint32_t head_dim, float base, const rope_scaling& s, std::span<const float> factors) {
  rope_speeds made;
  const yarn_ramp yarn(s, head_dim, base);
  for (std::uint32_t i = 0; i < head_dim / 2; ++i) {
    double f = std::pow(double{base}, -2.0 * i / head_dim);
    if (s.kind == rope_kind::linear) f /= s.factor;
    if (s.kind == rope_kind::llama3) f = llama3(s, f);
    if (s.kind == rope_kind::yarn) f = yarn(s, f, i);
    made.frequencies.push_back(factors.empty() ? f : f / double{factors[i]});
  }
  if (s.kind == rope_kind::yarn)  // longer contexts blur the softmax; the paper sharpens it again
    made.magnitude = s.attention_factor * (1 + 0.1 * std::log(double{s.factor}));
  return made;
}

void rope_speeds::turns(float* table, std::uint64_t position) const {
  for (const double frequency : frequencies) {
    const double angle = static_cast<double>(position) * frequency;
    *table++ = static_cast<float>(magnitude * std::cos(angle));
    *table++ = static_cast<float>(magnitude * std::sin(angle));
  }
}

}  // namespace dlls::model

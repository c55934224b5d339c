// How a block's numbers are found. Once the numbers q are chosen, the scale d (and offset m) with
// the least weighted squared error follow from linear least squares; once d and m are chosen, the
// best q are the roundings. So: start from several d around the one that just covers the values,
// round, solve, keep the best, round and solve once more from there. Then d and m become half
// precision (or, in blocks of 256, small multiples of two halves, a step to either side tried too),
// and the numbers are rounded for what the file will really say.
#include "kernels/quantise.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/check.hpp"
#include "kernels/file_block.hpp"

namespace dlls::kernels {
namespace {

constexpr int starts = 9;            // scales tried for a group,
constexpr float start_step = 0.25f;  // so far apart in the number that the extreme becomes
constexpr int exponent_min = -100;   // values below 2^-100 are zeros for every type
constexpr std::size_t block_max = 256;

// To nearest, ties to even, for |x| < 2^22, in a form that compilers make vectors of.
float rounded(float x) noexcept {
  constexpr float shift = 0x1.8p23f;
  return (x + shift) - shift;
}

// Values and weights of what shares a scale, and the range of its numbers.
struct group {
  const float* x;
  const float* weight;
  std::size_t n;
  float low, high;

  // The number for x[j].
  float number(std::size_t j, float inverse, float m) const noexcept {
    return std::clamp(rounded((x[j] - m) * inverse), low, high);
  }
};

struct fit {
  float d = 0, m = 0;
  float error = std::numeric_limits<float>::max();
};

float inverse_of(float d) noexcept { return d == 0 ? 0 : 1 / d; }

// Least squares of d alone, given that the numbers are the roundings for `from`.
fit solve_scale(const group& of, float from) noexcept {
  const float inverse = inverse_of(from);
  float xq = 0, qq = 0, xx = 0;
  for (std::size_t j = 0; j < of.n; ++j) {
    const float q = of.number(j, inverse, 0), w = of.weight[j];
    xq += w * of.x[j] * q, qq += w * q * q, xx += w * of.x[j] * of.x[j];
  }
  const float d = qq > 0 ? xq / qq : 0;
  return {d, 0, xx - d * xq};
}

// Least squares of d and m, m at most `m_max`; x counted from `from.m` to keep the sums small.
fit solve_line(const group& of, const fit& from, float m_max) noexcept {
  const float inverse = inverse_of(from.d);
  float w_sum = 0, x_sum = 0, q_sum = 0, xq = 0, qq = 0, xx = 0;
  for (std::size_t j = 0; j < of.n; ++j) {
    const float q = of.number(j, inverse, from.m), w = of.weight[j], x = of.x[j] - from.m;
    w_sum += w, x_sum += w * x, q_sum += w * q;
    xq += w * x * q, qq += w * q * q, xx += w * x * x;
  }
  const float determinant = w_sum * qq - q_sum * q_sum;
  if (!(determinant > 0)) return {0, std::min(from.m + x_sum / w_sum, m_max), xx};
  fit best;
  best.d = (w_sum * xq - q_sum * x_sum) / determinant;
  best.m = (x_sum - best.d * q_sum) / w_sum;
  if (const float room = m_max - from.m; best.m > room) {
    best.m = room;
    best.d = qq > 0 ? std::max(0.0f, (xq - room * q_sum) / qq) : 0;
  }
  best.error = xx - 2 * best.d * xq - 2 * best.m * x_sum + best.d * best.d * qq +
               2 * best.d * best.m * q_sum + best.m * best.m * w_sum;
  best.m += from.m;
  return best;
}

fit best_scale(const group& of) noexcept {
  float extreme = 0;
  for (std::size_t j = 0; j < of.n; ++j)
    if (std::abs(of.x[j]) > std::abs(extreme)) extreme = of.x[j];
  if (extreme == 0) return {0, 0, 0};
  fit best;
  auto consider = [&](float d) {
    if (const auto found = solve_scale(of, d); found.error < best.error) best = found;
  };
  for (int k = 0; k < starts; ++k)
    consider(extreme / (of.low + start_step * static_cast<float>(k - starts / 2)));
  consider(extreme / of.high);
  consider(best.d);
  return best;
}

fit best_line(const group& of, float m_max) noexcept {
  const auto [least, most] = std::minmax_element(of.x, of.x + of.n);
  const float low = std::min(*least, m_max), range = *most - low;
  if (!(range > 0)) return {0, low, 0};
  fit best;
  auto consider = [&](const fit& from) {
    if (const auto found = solve_line(of, from, m_max); found.error < best.error) best = found;
  };
  for (int k = 0; k < starts; ++k)
    consider({range / (of.high + start_step * static_cast<float>(k - starts / 2)), low, 0});
  consider(best);
  return best;
}

// The weighted squared error of what a file with this d and m says.
float error_of(const group& of, float d, float m) noexcept {
  const float inverse = inverse_of(d);
  float sum = 0;
  for (std::size_t j = 0; j < of.n; ++j) {
    const float off = of.x[j] - (d * of.number(j, inverse, m) + m);
    sum += of.weight[j] * off * off;
  }
  return sum;
}

// One block at work. Its values are scaled by a power of two to at most 1, which is exact and keeps
// every sum far from the limits of float.
class block {
 public:
  block(element type, const float* in) : type_(type), form_(packing_of(type)) {
    float extreme = 0;
    for (std::size_t j = 0; j < form_.columns; ++j) {
      if (!std::isfinite(in[j])) fits_ = false;
      extreme = std::max(extreme, std::abs(in[j]));
    }
    if (!fits_) return;
    int exponent = 0;
    if (extreme > 0) std::frexp(extreme, &exponent);
    exponent = std::max(exponent, exponent_min);
    up_ = std::ldexp(1.0f, std::min(exponent, 127)), down_ = std::ldexp(1.0f, -exponent);
    float mean = 0;
    for (std::size_t j = 0; j < form_.columns; ++j) x_[j] = in[j] * down_, mean += x_[j] * x_[j];
    mean /= static_cast<float>(form_.columns);
    for (std::size_t j = 0; j < form_.columns; ++j)
      weight_[j] = std::max(mean + x_[j] * x_[j], std::numeric_limits<float>::min());
  }

  // False when it can't be said in this type.
  bool write(std::byte* out) {
    if (fits_) form_.scaled() ? find_scales() : find_halves();
    if (fits_) put_together(out, type_, parts_);
    return fits_;
  }

 private:
  group part(std::size_t g) const noexcept {
    const int top = (1 << (form_.low_bits + form_.high_bits)) - 1;
    const int low = type_ == element::q8_0 ? -127 : -form_.zero;  // as is the custom in q8_0
    const auto at = g * form_.group;
    return {
        &x_[at], &weight_[at], form_.group, static_cast<float>(low),
        static_cast<float>(top - form_.zero)};
  }

  // Between our scaled units and the halves of the file.
  std::uint16_t half(float value) {
    const auto bits = to_half(value * up_);
    if ((bits & 0x7C00) == 0x7C00) fits_ = false;
    return bits;
  }
  float value(std::uint16_t half) const noexcept { return from_half(half) * down_; }

  void set_numbers(std::size_t g, float d, float m) noexcept {
    const auto of = part(g);
    const float inverse = inverse_of(d);
    for (std::size_t j = 0; j < of.n; ++j)
      parts_.number[g * form_.group + j] =
          static_cast<std::uint8_t>(static_cast<int>(of.number(j, inverse, m)) + form_.zero);
  }

  // Blocks of 32: d and m themselves are halves. Also tried: the next half above d.
  void find_halves() {
    const auto of = part(0);
    const auto best = form_.minimum ? best_line(of, 2) : best_scale(of);
    parts_.d = half(best.d), parts_.m = half(best.m);
    if (!fits_) return;
    const float m = form_.minimum ? value(parts_.m) : 0;
    const auto above = static_cast<std::uint16_t>(parts_.d + 1);
    if ((above & 0x7C00) != 0x7C00 &&
        error_of(of, value(above), m) < error_of(of, value(parts_.d), m))
      parts_.d = above;
    set_numbers(0, value(parts_.d), m);
  }

  // Blocks of 256: each group's d is a whole multiple of one half, and its m of another.
  void find_scales() {
    std::array<fit, 16> found;
    float d_extreme = 0, m_extreme = 0;
    for (std::size_t g = 0; g < form_.groups(); ++g) {
      found[g] = form_.minimum ? best_line(part(g), 0) : best_scale(part(g));
      if (std::abs(found[g].d) > std::abs(d_extreme)) d_extreme = found[g].d;
      m_extreme = std::min(m_extreme, found[g].m);
    }
    const int low = form_.minimum ? 0 : -128, high = form_.minimum ? 63 : 127;
    parts_.d = half(d_extreme / static_cast<float>(form_.minimum ? high : low));
    parts_.m = half(m_extreme / 63);
    if (!fits_) return;
    const float d = value(parts_.d), m = value(parts_.m);
    for (std::size_t g = 0; g < form_.groups(); ++g) {
      const auto scales = around(found[g].d * inverse_of(d), low, high);
      const auto minima = around(form_.minimum ? found[g].m * inverse_of(m) : 0, 0, 63);
      set_group(g, d, m, scales, form_.minimum ? minima : std::array{0, 0, 0});
    }
  }

  static std::array<int, 3> around(float multiple, int low, int high) noexcept {
    const auto near = static_cast<int>(
        rounded(std::clamp(multiple, static_cast<float>(low), static_cast<float>(high))));
    return {near, std::max(near - 1, low), std::min(near + 1, high)};
  }

  // The best of these multiples.
  void set_group(
      std::size_t g, float d, float m, std::array<int, 3> scales, std::array<int, 3> minima) {
    const auto of = part(g);
    float least = std::numeric_limits<float>::infinity();
    int scale = 0, minimum = 0;
    for (std::size_t k = 0; k < (form_.minimum ? 9u : 3u); ++k) {
      const int s = scales[k % 3], low = minima[k / 3];
      const float error = error_of(of, d * static_cast<float>(s), m * static_cast<float>(low));
      if (error < least) least = error, scale = s, minimum = low;
    }
    parts_.scale[g] = static_cast<std::int8_t>(scale);
    parts_.minimum[g] = static_cast<std::uint8_t>(minimum);
    set_numbers(g, d * static_cast<float>(scale), m * static_cast<float>(minimum));
  }

  element type_;
  packing form_;
  bool fits_ = true;
  float up_ = 1, down_ = 1;
  float x_[block_max], weight_[block_max];
  block_parts parts_;
};

bool to_sixteen_bits(std::byte* out, element type, const float* in, std::size_t n) noexcept {
  bool fits = true;
  for (std::size_t i = 0; i < n; ++i) {
    const auto bits = type == element::f16 ? to_half(in[i]) : to_bfloat(in[i]);
    const auto infinite = type == element::f16 ? 0x7C00 : 0x7F80;
    if ((bits & infinite) == infinite) fits = false;
    std::memcpy(out + 2 * i, &bits, 2);
  }
  return fits;
}

}  // namespace

bool quantise(std::byte* out, element type, const float* in, std::size_t n) {
  base::check(can_quantise(type), "a type that is written");
  if (type == element::f32) {
    std::memcpy(out, in, n * 4);
    return std::all_of(in, in + n, [](float x) { return std::isfinite(x); });
  }
  if (!is_quantised(type)) return to_sixteen_bits(out, type, in, n);
  for (std::size_t i = 0; i < n; i += values_together(type), out += bytes_together(type))
    if (!block(type, in + i).write(out)) return false;
  return true;
}

}  // namespace dlls::kernels

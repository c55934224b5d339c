// The ids of our requests. CAF leaves 60 bits of a message id to the sender, carries them to the
// callee, over a network too, and back with the answer; so what both sides need to know of a call
// beyond its content stands in them, and costs no byte and no allocation. The gate of the link
// reads them as well: a change of this layout changes the wire format.
//
//   bit 59       one of ours: CAF's own ids count up from 1
//   bits 57-58   kind
//   bits 45-56   how long the asker will wait, from when it asked; 0: no limit
//   bits 0-44    the call's number: no actor uses one twice
#pragma once
#include <bit>
#include <caf/message_id.hpp>
#include <chrono>
#include <cstdint>

namespace dlls::runtime::detail {

enum class call_kind : std::uint8_t {
  call = 0,    // one answer
  stream = 1,  // many parts (part<T>), then an empty answer or an error
  order = 2,   // asker to callee, about a call that runs: empty cancels, a uint32_t grants credit
  signal = 3,  // an actor to itself: the clock, the end of somebody it waits for
};

// A time as 12 bits: 7 of mantissa, 5 of exponent, in microseconds, rounded down by less than 1 %,
// so that a callee never takes more time than its asker has. Up to 76 hours; more is no limit.
class time_code {
 public:
  using microseconds = std::chrono::microseconds;

  static constexpr std::uint64_t encode(microseconds left) noexcept {
    const auto count =
        left.count() < 1 ? std::uint64_t{1} : static_cast<std::uint64_t>(left.count());
    if (count < mantissas) return count;
    const auto exponent = static_cast<unsigned>(std::bit_width(count)) - mantissa_bits;
    if (exponent > exponent_max) return 0;
    return (exponent << mantissa_bits) | ((count >> (exponent - 1)) & (mantissas - 1));
  }
  static constexpr microseconds decode(std::uint64_t code) noexcept {
    const auto exponent = code >> mantissa_bits;
    const auto mantissa = code & (mantissas - 1);
    if (exponent == 0) return microseconds{mantissa};
    return microseconds{(mantissas + mantissa) << (exponent - 1)};
  }

 private:
  static constexpr unsigned mantissa_bits = 7;
  static constexpr std::uint64_t mantissas = 1u << mantissa_bits;
  static constexpr unsigned exponent_max = 31;
};

// Of a call that is made now.
constexpr std::uint64_t time_left(
    std::chrono::steady_clock::time_point now, std::chrono::steady_clock::time_point deadline) {
  if (deadline == std::chrono::steady_clock::time_point::max()) return 0;
  return time_code::encode(std::chrono::duration_cast<std::chrono::microseconds>(deadline - now));
}

class call_id {
 public:
  static constexpr unsigned number_bits = 45;
  static constexpr std::uint64_t number_max = (std::uint64_t{1} << number_bits) - 1;

  // Reads the free bits of any message id.
  explicit call_id(caf::message_id id) noexcept : bits_(id.request_id().integer_value()) {}
  explicit constexpr call_id(std::uint64_t bits) noexcept : bits_(bits) {}
  constexpr call_id(call_kind kind, std::uint64_t time, std::uint64_t number) noexcept
      : bits_(
            our_mark | static_cast<std::uint64_t>(kind) << kind_shift | time << time_shift |
            number) {}

  constexpr bool is_ours() const noexcept { return (bits_ & our_mark) != 0; }
  constexpr call_kind kind() const noexcept {
    return static_cast<call_kind>((bits_ >> kind_shift) & 3);
  }
  constexpr std::uint64_t time() const noexcept { return (bits_ >> time_shift) & 0xfff; }
  constexpr std::uint64_t number() const noexcept { return bits_ & number_max; }

  // Of a request; and of what must not be answered: answers, orders and signals, which an actor
  // that doesn't know them drops in silence.
  caf::message_id request() const noexcept { return caf::make_message_id(bits_); }
  caf::message_id response() const noexcept { return request().response_id(); }
  // The order about a call.
  static constexpr call_id order(std::uint64_t number) noexcept {
    return {call_kind::order, 0, number};
  }

 private:
  static constexpr std::uint64_t our_mark = std::uint64_t{1} << 59;
  static constexpr unsigned kind_shift = 57;
  static constexpr unsigned time_shift = number_bits;
  std::uint64_t bits_;
};

}  // namespace dlls::runtime::detail

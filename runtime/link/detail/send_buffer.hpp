// How much of what we write the kernel may hold. What lies there, or in a queue of the network that
// our own data fills, delays every message that comes after it.
#pragma once
#include <cstddef>
#include <cstdint>

namespace dlls::runtime::link::detail {

// Bytes that the kernel takes before it has sent them (TCP_NOTSENT_LOWAT, tcp(7)).
inline constexpr int unsent_bytes_max = 16 << 10;
void keep_unsent_short(int socket) noexcept;

// A frame of that size is worth a look at the line.
inline constexpr std::size_t large_frame_bytes = 16u << 10;

// The bandwidth-delay product is what keeps a line busy: delivery rate times the shortest round
// trip, both as TCP has measured them. Twice that, since the rate measured is never above what the
// buffer allowed. `rate` in bytes a second, `round_trip` in microseconds.
std::size_t fitting_send_buffer(std::uint64_t rate, std::uint32_t round_trip) noexcept;

// Bytes sent and not yet acknowledged (SO_SNDBUF, socket(7)): what fits the line, where that is
// little. On a line that holds more the kernel's own tuning is left on, or switched on again.
class send_buffer {
 public:
  // Before a large frame; cheap.
  void fit(int socket) noexcept;

  static constexpr std::size_t bytes_min = 32u << 10;
  static constexpr std::size_t bytes_max = 128u << 10;  // above: the kernel's affair

 private:
  bool set_ = false;
};

}  // namespace dlls::runtime::link::detail

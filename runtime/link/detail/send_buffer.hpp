// How much of what we write the kernel may hold. What lies there, or in a queue of the network that
// our own data fills, delays every message that comes after it.
#pragma once
#include <cstddef>
#include <cstdint>

namespace dlls::runtime::link::detail {

// Bytes that the kernel takes before it has sent them (TCP_NOTSENT_LOWAT, tcp(7)).
inline constexpr int unsent_bytes_max = 16 << 10;
// Bytes sent and not yet acknowledged, on a line of any length; more on a long one.
inline constexpr std::size_t unacknowledged_bytes_min = 32u << 10;
inline constexpr std::size_t unacknowledged_bytes_max = 4u << 20;

void keep_unsent_short(int socket) noexcept;

// The bandwidth-delay product is what keeps a line busy: delivery rate times the shortest round
// trip, both as TCP has measured them. Twice that, since the rate measured is never above what the
// buffer allowed. `rate` in bytes a second, `round_trip` in microseconds.
std::size_t fitting_send_buffer(std::uint64_t rate, std::uint32_t round_trip) noexcept;
// Sets SO_SNDBUF so. Called before a large frame; cheap.
void fit_send_buffer(int socket) noexcept;

}  // namespace dlls::runtime::link::detail

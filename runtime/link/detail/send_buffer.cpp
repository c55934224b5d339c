#include "runtime/link/detail/send_buffer.hpp"

#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>

namespace dlls::runtime::link::detail {

void keep_unsent_short(int socket) noexcept {
  const int bytes = unsent_bytes_max;
  ::setsockopt(socket, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &bytes, sizeof bytes);
}

std::size_t fitting_send_buffer(std::uint64_t rate, std::uint32_t round_trip) noexcept {
  constexpr std::uint64_t microseconds = 1'000'000;
  const auto product = std::min<std::uint64_t>(rate, 1u << 31) * round_trip / microseconds;
  return std::clamp<std::size_t>(2 * product, unacknowledged_bytes_min, unacknowledged_bytes_max);
}

void fit_send_buffer(int socket) noexcept {
  tcp_info info{};
  socklen_t size = sizeof info;
  if (::getsockopt(socket, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) return;
  // The kernel doubles what is set, for its own overhead.
  const int bytes =
      static_cast<int>(fitting_send_buffer(info.tcpi_delivery_rate, info.tcpi_min_rtt));
  ::setsockopt(socket, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
}

}  // namespace dlls::runtime::link::detail

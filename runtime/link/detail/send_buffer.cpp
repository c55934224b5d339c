#include "runtime/link/detail/send_buffer.hpp"

#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>

namespace dlls::runtime::link::detail {
namespace {

// Linux 5.15 and later; older headers lack the name, older kernels say so.
constexpr int so_buf_lock = 72;

}  // namespace

void keep_unsent_short(int socket) noexcept {
  const int bytes = unsent_bytes_max;
  ::setsockopt(socket, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &bytes, sizeof bytes);
}

std::size_t fitting_send_buffer(std::uint64_t rate, std::uint32_t round_trip) noexcept {
  constexpr std::uint64_t microseconds = 1'000'000;
  const auto product = std::min<std::uint64_t>(rate, 1u << 31) * round_trip / microseconds;
  return std::max<std::size_t>(2 * product, send_buffer::bytes_min);
}

void send_buffer::fit(int socket) noexcept {
  tcp_info info{};
  socklen_t size = sizeof info;
  if (::getsockopt(socket, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) return;
  const auto bytes = fitting_send_buffer(info.tcpi_delivery_rate, info.tcpi_min_rtt);
  if (bytes <= bytes_max) {
    // The kernel doubles what is set, for its own overhead, and tunes it no more.
    const int wanted = static_cast<int>(bytes);
    ::setsockopt(socket, SOL_SOCKET, SO_SNDBUF, &wanted, sizeof wanted);
    set_ = true;
  } else if (set_) {
    const int unlocked = 0;
    set_ = ::setsockopt(socket, SOL_SOCKET, so_buf_lock, &unlocked, sizeof unlocked) != 0;
  }
}

}  // namespace dlls::runtime::link::detail

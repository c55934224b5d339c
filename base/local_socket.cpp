#include "base/local_socket.hpp"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace dlls::base {
namespace fs = std::filesystem;
namespace {

// An address, and what must stay open while it is used.
struct place {
  sockaddr_un address{};
  unique_fd folder;
  const sockaddr* get() const noexcept { return reinterpret_cast<const sockaddr*>(&address); }
};

result<place> place_of(const fs::path& path) {
  place found;
  found.address.sun_family = AF_UNIX;
  auto text = path.string();
  if (text.size() >= sizeof found.address.sun_path) {
    // By way of the open folder, which is short.
    found.folder = unique_fd{::open(path.parent_path().c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)};
    if (!found.folder) return errno_error("open " + path.parent_path().string());
    text = fmt::format("/proc/self/fd/{}/{}", found.folder.get(), path.filename().string());
  }
  if (text.empty() || text.size() >= sizeof found.address.sun_path)
    return error{errc::invalid_argument, path.string() + " is no path for a socket"};
  std::memcpy(found.address.sun_path, text.data(), text.size());
  return found;
}

unique_fd new_socket(int more = 0) {
  return unique_fd{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | more, 0)};
}

// The way is free: nothing is there, or what a process that was killed left behind.
result<> clear(const fs::path& path, const place& at) {
  struct stat info {};
  if (::lstat(path.c_str(), &info) != 0) {
    if (errno == ENOENT) return {};
    return errno_error("stat " + path.string());
  }
  if (!S_ISSOCK(info.st_mode))
    return error{errc::already_exists, path.string() + " is there, and no socket"};
  const auto probe = new_socket(SOCK_NONBLOCK);
  if (!probe) return errno_error("socket");
  if (::connect(probe.get(), at.get(), sizeof at.address) == 0 || errno != ECONNREFUSED)
    return error{errc::already_exists, "another process listens at " + path.string()};
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) return errno_error("remove " + path.string());
  return {};
}

}  // namespace

result<unique_fd> listen_local(const fs::path& path) {
  auto at = place_of(path);
  if (!at) return at.error();
  if (auto free = clear(path, *at); !free) return free.error();
  auto made = new_socket(SOCK_NONBLOCK);
  if (!made) return errno_error("socket");
  // The file gets the mode of the socket, from its first moment on.
  constexpr int waiting_max = 8;
  if (::fchmod(made.get(), 0600) != 0 || ::bind(made.get(), at->get(), sizeof at->address) != 0 ||
      ::listen(made.get(), waiting_max) != 0)
    return errno_error("listen at " + path.string());
  return made;
}

result<unique_fd> connect_local(const fs::path& path, std::chrono::milliseconds within) {
  auto at = place_of(path);
  if (!at) return at.error();
  auto made = new_socket();
  if (!made) return errno_error("socket");
  timeval limit{};
  limit.tv_sec = within.count() / 1000;
  limit.tv_usec = within.count() % 1000 * 1000;
  ::setsockopt(made.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  ::setsockopt(made.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  if (::connect(made.get(), at->get(), sizeof at->address) == 0) return made;
  if (errno == ENOENT) return error{errc::not_found, "no such socket: " + path.string()};
  if (errno == ECONNREFUSED) return error{errc::unavailable, "nobody listens at " + path.string()};
  if (errno == EAGAIN)
    return error{errc::deadline_exceeded, path.string() + " takes no connection"};
  return errno_error("connect to " + path.string());
}

result<local_peer> peer_of(int socket) {
  ucred who{};
  socklen_t size = sizeof who;
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &who, &size) != 0)
    return errno_error("look at a peer");
  return local_peer{who.uid, who.pid};
}

}  // namespace dlls::base

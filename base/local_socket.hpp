// Unix domain sockets: how a process asks another one of the same user and machine something.
#pragma once
#include <chrono>
#include <filesystem>
#include <string>
#include <string_view>

#include "base/error.hpp"
#include "base/file.hpp"

namespace dlls::base {

// Listens at `path`, mode 0600, without blocking; whoever closes it also removes the file. A socket
// file that nobody listens at any more is removed first; already_exists when somebody does, or when
// the file is no socket. The folder must exist: not_found. Paths may be longer than the 107 bytes
// that the system takes. Two that begin on one path at the same time must have agreed before (the
// state folders have a lock).
result<unique_fd> listen_local(const std::filesystem::path& path);

// Blocks, for at most `within` each, the connect and every later read and write (they fail with
// EAGAIN then). not_found: no such socket; unavailable: nobody listens there any more;
// permission_denied: it is another user's.
result<unique_fd> connect_local(
    const std::filesystem::path& path,
    std::chrono::milliseconds within = std::chrono::milliseconds{5000});

// Who has the other end.
struct local_peer {
  unsigned user = 0;
  int process = 0;
};
result<local_peer> peer_of(int socket);

}  // namespace dlls::base

// What inspect() says of a system, for other processes of the same user: over a Unix domain socket.
//
//   auto served = runtime::inspect_server::open(system, state / "inspect.sock");
//
//   $ dlls inspect --socket state/inspect.sock
//   $ printf json | nc -NU state/inspect.sock
//
// One request a connection: the word `json` or `text` (nothing: json), ended by a line's end or by
// closing that direction. The answer is to_json or to_text of inspect() with its usual second, and
// the connection is closed. Connections are served one after the other; one that is slow to ask or
// to read is cut off.
//
// The file has mode 0600, and the kernel is asked who connects: any user but the one that this
// process runs as is cut off without a word, root too. The answers hold no content of messages.
#pragma once
#include <filesystem>
#include <memory>

#include "base/error.hpp"

namespace caf {
class actor_system;
}

namespace dlls::runtime {

class inspect_server {
 public:
  // One thread, which sleeps until somebody connects. Errors as base::listen_local. Ends before the
  // actor system.
  static base::result<std::unique_ptr<inspect_server>> open(
      caf::actor_system& system, std::filesystem::path socket);
  // Removes the file. Waits for the request being answered, at most for inspect's second.
  ~inspect_server();
  inspect_server(const inspect_server&) = delete;
  inspect_server& operator=(const inspect_server&) = delete;

 private:
  struct state;
  explicit inspect_server(std::unique_ptr<state> s);
  std::unique_ptr<state> state_;
};

}  // namespace dlls::runtime

#include "runtime/inspect_server.hpp"

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <caf/actor_system.hpp>
#include <cerrno>
#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <thread>

#include "base/local_socket.hpp"
#include "runtime/inspect.hpp"

namespace dlls::runtime {

using namespace std::chrono_literals;
using clock = std::chrono::steady_clock;

struct inspect_server::state {
  caf::actor_system& system;
  std::filesystem::path path;
  base::unique_fd listener;
  base::unique_fd over;  // readable: stop
  std::thread thread;

  void serve();
  void answer(int peer);
  std::optional<std::string> read_request(int peer, clock::time_point until);
  bool wait_for(int socket, short what, clock::time_point until);
};

// False when there is nothing to be had of it in time, or this ends.
bool inspect_server::state::wait_for(int socket, short what, clock::time_point until) {
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - clock::now()).count();
    if (left <= 0) return false;
    pollfd both[] = {{socket, what, 0}, {over.get(), POLLIN, 0}};
    if (::poll(both, 2, static_cast<int>(left)) < 0 && errno != EINTR) return false;
    if (both[1].revents) return false;
    if (both[0].revents) return true;
  }
}

std::optional<std::string> inspect_server::state::read_request(int peer, clock::time_point until) {
  constexpr std::size_t request_max = 16;
  std::string request;
  while (request.size() < request_max) {
    if (!wait_for(peer, POLLIN, until)) return std::nullopt;
    char piece[request_max];
    const auto got = ::recv(peer, piece, sizeof piece, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (got < 0) return std::nullopt;
    if (got == 0) return request;
    request.append(piece, static_cast<std::size_t>(got));
    if (const auto end = request.find_first_of("\r\n"); end != request.npos)
      return request.substr(0, end);
  }
  return std::nullopt;
}

void inspect_server::state::answer(int peer) {
  const auto who = base::peer_of(peer);
  if (!who || who->user != ::geteuid()) return;
  const auto request = read_request(peer, clock::now() + 1s);
  if (!request) return;
  std::string text;
  if (*request == "text")
    text = to_text(inspect(system));
  else if (*request == "json" || request->empty())
    text = to_json(inspect(system)) + "\n";
  else
    text = "{\"error\":\"ask for json or text\"}\n";
  const auto until = clock::now() + 5s;
  std::string_view rest{text};
  while (!rest.empty() && wait_for(peer, POLLOUT, until)) {
    const auto sent = ::send(peer, rest.data(), rest.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN && errno != EINTR) return;
    if (sent > 0) rest.remove_prefix(static_cast<std::size_t>(sent));
  }
}

void inspect_server::state::serve() {
  pthread_setname_np(pthread_self(), "inspect");
  for (;;) {
    pollfd both[] = {{listener.get(), POLLIN, 0}, {over.get(), POLLIN, 0}};
    if (::poll(both, 2, -1) < 0 && errno != EINTR) return;
    if (both[1].revents) return;
    if (!both[0].revents) continue;
    const base::unique_fd peer{
        ::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK)};
    if (peer)
      answer(peer.get());
    else  // out of descriptors, say: not at once again
      wait_for(-1, 0, clock::now() + 1s);
  }
}

base::result<std::unique_ptr<inspect_server>> inspect_server::open(
    caf::actor_system& system, std::filesystem::path socket) {
  auto listening = base::listen_local(socket);
  if (!listening) return listening.error();
  base::unique_fd over{::eventfd(0, EFD_CLOEXEC)};
  if (!over) return base::errno_error("eventfd");
  std::unique_ptr<state> made{
      new state{system, std::move(socket), std::move(*listening), std::move(over), {}}};
  made->thread = std::thread{[s = made.get()] { s->serve(); }};
  return std::unique_ptr<inspect_server>{new inspect_server(std::move(made))};
}

inspect_server::inspect_server(std::unique_ptr<state> s) : state_(std::move(s)) {}

inspect_server::~inspect_server() {
  std::error_code ignored;
  std::filesystem::remove(state_->path, ignored);
  ::eventfd_write(state_->over.get(), 1);
  state_->thread.join();
}

}  // namespace dlls::runtime

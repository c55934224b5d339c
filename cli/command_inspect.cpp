// dlls inspect: what the actors of running processes do and wait for.
#include <fmt/core.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

#include "base/local_socket.hpp"
#include "cli/command.hpp"

namespace dlls::cli {
using base::errc;
using base::error;
using base::result;
namespace fs = std::filesystem;

namespace {

constexpr auto socket_name = "inspect.sock";
constexpr std::size_t answer_max = 256u << 20;

struct inspect_flags {
  std::string state, socket;
  bool as_json = false;
};

struct answer {
  std::string text;
  int process = 0;
};

result<answer> ask(const fs::path& path, bool as_json) {
  auto socket = base::connect_local(path);
  if (!socket) {
    auto why = socket.error();
    if (why.code == errc::unavailable || why.code == errc::not_found)
      why.hint = "is its process running? `--state DIR` names the folder of one";
    if (why.code == errc::permission_denied) why.hint = "ask as the user that the process runs as";
    return why;
  }
  const auto peer = base::peer_of(socket->get());
  if (!peer) return peer.error();
  if (peer->user != ::geteuid())
    return error{
        errc::permission_denied,
        fmt::format("the process behind {} runs as user {}", path.string(), peer->user),
        "ask as that user"};
  const std::string request = as_json ? "json\n" : "text\n";
  if (::send(socket->get(), request.data(), request.size(), MSG_NOSIGNAL) < 0)
    return base::errno_error("ask " + path.string());
  answer got;
  got.process = peer->process;
  char piece[1 << 14];
  for (;;) {
    const auto count = ::recv(socket->get(), piece, sizeof piece, 0);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && errno == EAGAIN)
      return error{errc::deadline_exceeded, "no answer from " + path.string()};
    if (count < 0) return base::errno_error("read from " + path.string());
    if (count == 0) break;
    got.text.append(piece, static_cast<std::size_t>(count));
    if (got.text.size() > answer_max)
      return error{errc::resource_exhausted, path.string() + " does not stop answering"};
  }
  if (got.text.empty())
    return error{errc::unavailable, path.string() + " closed the connection: try again"};
  return got;
}

void print(const fs::path& path, const answer& got, const inspect_flags& how) {
  if (how.as_json)
    fmt::print("{}", got.text);
  else
    fmt::print("{} (process {}): {}", path.string(), got.process, got.text);
}

// Without flags: whatever runs with the folders of the settings.
result<int> inspect_all(const settings& all, const inspect_flags& how) {
  std::size_t answered = 0;
  std::optional<error> failed;
  for (const auto& folder : {all.coordinator_state, all.node_state}) {
    auto got = ask(folder / socket_name, how.as_json);
    if (got) {
      if (++answered > 1 && !how.as_json) fmt::print("\n");
      print(folder / socket_name, *got, how);
    } else if (got.error().code != errc::not_found && got.error().code != errc::unavailable) {
      failed = got.error();
    }
  }
  if (failed) return *failed;
  if (answered > 0) return 0;
  return error{
      errc::not_found,
      fmt::format(
          "neither a coordinator nor a node runs with {} or {}", all.coordinator_state.string(),
          all.node_state.string()),
      "`--state DIR` names the state folder of one"};
}

}  // namespace

void add_inspect(program& to) {
  auto how = std::make_shared<inspect_flags>();
  auto* command = add_command(
      to, "inspect", "show what the actors of a running coordinator or node do and wait for",
      [how](const settings& all) -> result<int> {
        if (how->state.empty() && how->socket.empty()) return inspect_all(all, *how);
        const fs::path path =
            how->socket.empty() ? fs::path{how->state} / socket_name : fs::path{how->socket};
        auto got = ask(path, how->as_json);
        if (!got) return got.error();
        print(path, *got, *how);
        return 0;
      });
  auto* state = command->add_option(
      "--state", how->state, "state folder of the process (default: those of the settings)");
  command->add_option("--socket", how->socket, "its socket itself")->excludes(state);
  command->add_flag("--json", how->as_json, "for programs: one line a process");
}

}  // namespace dlls::cli

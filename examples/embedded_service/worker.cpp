// worker PORT STATE TEXTS: counts the words of files in the folder TEXTS for whoever has joined.
#include <fmt/core.h>

#include <csignal>
#include <cstdio>
#include <dlls/base/file.hpp>
#include <dlls/runtime/co_actor.hpp>
#include <dlls/runtime/link/endpoint.hpp>
#include <dlls/runtime/offload.hpp>
#include <dlls/runtime/system.hpp>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "words.hpp"

namespace words {
namespace fs = std::filesystem;

// Blocks; runs on a thread of the pool.
counted count_words(const fs::path& path) {
  std::ifstream file{path};
  if (!file) throw base::failure({base::errc::not_found, "no text " + path.filename().string()});
  counted found;
  for (std::string line, word; std::getline(file, line); ++found.lines)
    for (std::istringstream in{line}; in >> word;) ++found.words;
  return found;
}

// One a link. Requests that wait for the disk wait side by side.
class counter : public runtime::co_actor<counter_actor> {
 public:
  counter(caf::actor_config& config, runtime::worker_pool& disk, fs::path texts)
      : co_actor(config), disk_(disk), texts_(std::move(texts)) {}
  behavior_type make_behavior() override { return {serve(&counter::count)}; }

 private:
  runtime::task<counted> count(count_file request) {
    const auto path = texts_ / fs::path{request.name}.filename();  // never out of the folder
    auto work = [path] { return count_words(path); };
    co_return co_await runtime::offload(this, disk_, work);
  }
  runtime::worker_pool& disk_;
  const fs::path texts_;
};

void serve(std::uint16_t wanted_port, const fs::path& state, const fs::path& texts) {
  sigset_t stop;  // blocked before there are threads, awaited below
  sigemptyset(&stop), sigaddset(&stop, SIGINT), sigaddset(&stop, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &stop, nullptr);

  // Destroyed the other way round: the endpoint and its counters, the system, the pool.
  runtime::worker_pool disk{{.threads = 4, .name = "disk"}};
  auto host = runtime::make_system({.network = true, .announce = wire::announce});
  link::endpoint endpoint{host->actors(), link_options()};

  // The authority is made on the first start. The token is good once; a person carries it over.
  auto authority = link::authority::open_or_create(state / "authority").value();
  const auto own = authority->coordinator("worker").value();
  const auto token = link::join_token::make(*authority);
  base::write_file_durably(state / "token", token.text(), 0600).value();

  link::acceptor_events events;
  events.make_door = [&](const link::connection_ptr&) {
    return caf::actor_cast<caf::strong_actor_ptr>(host->actors().spawn<counter>(disk, texts));
  };
  auto joining = link::admit_once(authority, token);
  auto port = endpoint.listen("127.0.0.1", wanted_port, own, "node", events, joining).value();
  fmt::print("listening on port {}\n", port);
  int which = 0;
  sigwait(&stop, &which);
}

}  // namespace words

int main(int argc, char** argv) try {
  if (argc != 4) return std::fprintf(stderr, "usage: worker PORT STATE TEXTS\n"), 2;
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  words::serve(static_cast<std::uint16_t>(std::stoi(argv[1])), argv[2], argv[3]);
} catch (const std::exception& why) {
  return std::fprintf(stderr, "worker: %s\n", why.what()), 1;
}

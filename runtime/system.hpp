// An actor system and its configuration, made the way this project wants it.
//
//   auto host = runtime::make_system({.workers = 2, .announce = announce_messages});
//   auto door = host->actors().spawn<coordinator_door>(...);
#pragma once
#include <cstddef>
#include <functional>
#include <memory>

namespace caf {
class actor_system;
class actor_system_config;
}  // namespace caf

namespace dlls::runtime {

// What workers do that have no work.
enum class idle_workers {
  sleep,  // until there is some: no wake-up, and an answer from another machine is taken up at once
  poll,   // look for some, a hundred times a second each; messages between two busy actors of one
          // system travel up to half again as fast
};

struct system_options {
  // Threads that run actors; 0: one a core, at least two (an actor that computes must not stop the
  // others).
  std::size_t workers = 0;
  idle_workers idle = idle_workers::sleep;
  // Load CAF's network layer. It opens nothing by itself: our link hands it finished connections.
  bool network = false;
  // Announces message types: `runtime::message_list<...>::announce`, see announce.hpp.
  std::function<void(caf::actor_system_config&)> announce = {};
  // Last word on the configuration, for tests.
  std::function<void(caf::actor_system_config&)> configure = {};
};

// Owns both; destroying it waits until every actor has ended (CAF's rule), so end them first.
class system_host {
 public:
  explicit system_host(const system_options& options);
  ~system_host();
  system_host(const system_host&) = delete;
  system_host& operator=(const system_host&) = delete;
  caf::actor_system& actors() noexcept;

 private:
  struct parts;
  std::unique_ptr<parts> parts_;
};

// No command line and no configuration file reaches CAF. Its servers for remote spawning and remote
// configuration are taken off the registry, so that no peer can name them.
std::unique_ptr<system_host> make_system(const system_options& options = {});

}  // namespace dlls::runtime

#include "runtime/system.hpp"

#include <algorithm>
#include <caf/actor_registry.hpp>
#include <caf/actor_system.hpp>
#include <caf/actor_system_config.hpp>
#include <caf/io/middleman.hpp>
#include <thread>

#include "runtime/caf_error.hpp"
#include "runtime/inspect.hpp"

namespace dlls::runtime {
namespace {

// Runs before the system is built, so that nobody meets the two servers.
caf::actor_system_config& apply(caf::actor_system_config& config, const system_options& options) {
  const auto cores = std::max<std::size_t>(2, std::thread::hardware_concurrency());
  config.set("scheduler.max-threads", options.workers > 0 ? options.workers : cores);
  config.set(
      "scheduler.policy",
      options.idle == idle_workers::sleep ? caf::atom("sharing") : caf::atom("stealing"));
  config.set("logger.verbosity", caf::atom("quiet"));
  announce_errors(config);
  list_actors(config);
  if (options.network) {
    config.load<caf::io::middleman>();
    // The link calls back over the connection it has; no one dials on our behalf.
    config.set("middleman.enable-automatic-connections", false);
  }
  if (options.announce) options.announce(config);
  if (options.configure) options.configure(config);
  return config;
}

}  // namespace

struct system_host::parts {
  explicit parts(const system_options& options) : actors(apply(config, options)) {
    actors.registry().erase(caf::atom("SpawnServ"));
    actors.registry().erase(caf::atom("ConfigServ"));
  }
  caf::actor_system_config config;
  caf::actor_system actors;
};

system_host::system_host(const system_options& options)
    : parts_(std::make_unique<parts>(options)) {}
system_host::~system_host() = default;
caf::actor_system& system_host::actors() noexcept { return parts_->actors; }

std::unique_ptr<system_host> make_system(const system_options& options) {
  return std::make_unique<system_host>(options);
}

}  // namespace dlls::runtime

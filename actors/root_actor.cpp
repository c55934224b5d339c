#include "actors/root_actor.hpp"

#include <caf/actor.hpp>
#include <caf/actor_cast.hpp>
#include <caf/exit_reason.hpp>
#include <cstdlib>

#include "base/log.hpp"

namespace dlls::actors {

void end_process_with(const caf::actor& root, const char* name) {
  root->attach_functor([name](const caf::error& reason) {
    if (reason == caf::exit_reason::user_shutdown) return;
    base::log_error(
        "process", "the {} has ended ({}): so does the process", name, caf::to_string(reason));
    std::_Exit(EXIT_FAILURE);  // what was acknowledged is on the disk; nothing else may run on
  });
}

std::unique_ptr<runtime::inspect_server> open_inspection(
    caf::actor_system& actors, const std::filesystem::path& state) {
  auto opened = runtime::inspect_server::open(actors, state / "inspect.sock");
  if (opened) return std::move(*opened);
  base::log_warning("process", "`dlls inspect` will not work: {}", opened.error().text());
  return nullptr;
}

}  // namespace dlls::actors

// What both sides' processes do with their actors. Those that a process exists for: one that ends
// by itself takes the process with it, so that whoever watches the process (systemd) starts it
// anew. Without it an empty shell would stay up.
#pragma once
#include <caf/fwd.hpp>
#include <filesystem>
#include <memory>

#include "runtime/inspect_server.hpp"

namespace dlls::actors {

// From now on the end of `root` for any reason but user_shutdown is logged and ends the process
// with code 1. `name` must be a literal.
void end_process_with(const caf::actor& root, const char* name);

// Answers `dlls inspect` at STATE/inspect.sock. Null, and a warning, when that can't be: nothing
// depends on it.
std::unique_ptr<runtime::inspect_server> open_inspection(
    caf::actor_system& actors, const std::filesystem::path& state);

}  // namespace dlls::actors

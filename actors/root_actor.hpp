// The actors that a process exists for: one that ends by itself takes the process with it, so that
// whoever watches the process (systemd) starts it anew. Without it an empty shell would stay up.
#pragma once
#include <caf/fwd.hpp>

namespace dlls::actors {

// From now on the end of `root` for any reason but user_shutdown is logged and ends the process
// with code 1. `name` must be a literal.
void end_process_with(const caf::actor& root, const char* name);

}  // namespace dlls::actors

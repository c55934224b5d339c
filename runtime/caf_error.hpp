// base::error as CAF carries it, and back. Between two nodes an error keeps all it has.
#pragma once
#include <string_view>

#include "base/error.hpp"

namespace caf {
class error;
class actor_system_config;
}  // namespace caf

namespace dlls::runtime {

// Category "dlls", the code as it is, the rest as context. An error with code `ok` becomes
// `internal`: an error is never nothing.
caf::error to_caf(const base::error& e);

// The inverse of to_caf. CAF's own errors are translated: request_timeout to deadline_exceeded; a
// receiver that is down, an unreachable node, an actor's exit to unavailable; broken or unexpected
// messages to corrupt, internal or unsupported. `who` names the other side in the text. A peer's
// unknown code becomes `internal`.
base::error from_caf(const caf::error& e, std::string_view who = "the actor");

// What a `catch (...)` holds, as an error: a base::failure's own, else `internal` with the text of
// the exception. Call it inside the catch block.
base::error current_exception_error();

// Lets CAF print errors of category "dlls" readably. make_system does it.
void announce_errors(caf::actor_system_config& config);

}  // namespace dlls::runtime

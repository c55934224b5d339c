// Bugs: a condition that our own code guarantees. On in release builds too.
#pragma once
#include <boost/assert/source_location.hpp>

namespace dlls::base {

// Writes the reason and the place to standard error and aborts. Never use it for anything that
// input, a peer, a disk or a configuration can cause: those are base::error.
[[noreturn]] void fail_check(const char* why, const boost::source_location& where) noexcept;

inline void check(
    bool condition, const char* why,
    const boost::source_location& where = BOOST_CURRENT_LOCATION) noexcept {
  if (!condition) [[unlikely]]
    fail_check(why, where);
}

}  // namespace dlls::base

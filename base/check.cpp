#include "base/check.hpp"

#include <cstdio>
#include <cstdlib>

namespace dlls::base {

void fail_check(const char* why, const boost::source_location& where) noexcept {
  std::fprintf(
      stderr, "dlls: bug: %s (%s:%u, %s)\n", why, where.file_name(),
      static_cast<unsigned>(where.line()), where.function_name());
  std::abort();
}

}  // namespace dlls::base

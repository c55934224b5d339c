#include "base/error.hpp"

#include <fmt/core.h>

#include <cerrno>
#include <system_error>

namespace dlls::base {

std::string_view name(errc code) noexcept {
  switch (code) {
    case errc::ok:
      return "ok";
    case errc::invalid_argument:
      return "invalid_argument";
    case errc::not_found:
      return "not_found";
    case errc::already_exists:
      return "already_exists";
    case errc::failed_precondition:
      return "failed_precondition";
    case errc::permission_denied:
      return "permission_denied";
    case errc::unauthenticated:
      return "unauthenticated";
    case errc::resource_exhausted:
      return "resource_exhausted";
    case errc::storage_full:
      return "storage_full";
    case errc::unavailable:
      return "unavailable";
    case errc::deadline_exceeded:
      return "deadline_exceeded";
    case errc::cancelled:
      return "cancelled";
    case errc::corrupt:
      return "corrupt";
    case errc::version_mismatch:
      return "version_mismatch";
    case errc::stale:
      return "stale";
    case errc::io:
      return "io";
    case errc::internal:
      return "internal";
    case errc::unsupported:
      return "unsupported";
    case errc::too_long:
      return "too_long";
  }
  return "unknown";
}

error error::about(std::string which) const {
  auto same = *this;
  same.param = std::move(which);
  return same;
}

std::string error::text() const {
  auto text = fmt::format("{}: {}", name(code), message);
  return hint.empty() ? text : fmt::format("{} ({})", text, hint);
}

void throw_exception_from_error(const error& e, const boost::source_location&) { throw failure(e); }

error errno_error(std::string_view what) {
  const int number = errno;
  auto code = errc::io;
  if (number == ENOENT) code = errc::not_found;
  if (number == ENOSPC || number == EDQUOT) code = errc::storage_full;
  if (number == EACCES || number == EPERM) code = errc::permission_denied;
  return {code, fmt::format("{}: {}", what, std::generic_category().message(number))};
}

}  // namespace dlls::base

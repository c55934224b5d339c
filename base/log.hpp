// One line an event, to standard error. Never log a key, a token, a secret, a prompt or a file's
// content.
#pragma once
#include <fmt/core.h>

#include <string_view>
#include <utility>

namespace dlls::base {

enum class log_level { debug, info, warning, error, off };

// Process-wide; default info, or the environment variable DLLS_LOG (debug, info, warning, error,
// off).
void set_log_level(log_level level);
bool log_enabled(log_level level) noexcept;

// Thread-safe. `room` names who speaks: "link", "ledger", "trainer".
void log_line(log_level level, std::string_view room, std::string_view message);

template <class... Ts>
void log(log_level level, std::string_view room, fmt::format_string<Ts...> format, Ts&&... args) {
  if (log_enabled(level)) log_line(level, room, fmt::format(format, std::forward<Ts>(args)...));
}
template <class... Ts>
void log_debug(std::string_view room, fmt::format_string<Ts...> format, Ts&&... args) {
  log(log_level::debug, room, format, std::forward<Ts>(args)...);
}
template <class... Ts>
void log_info(std::string_view room, fmt::format_string<Ts...> format, Ts&&... args) {
  log(log_level::info, room, format, std::forward<Ts>(args)...);
}
template <class... Ts>
void log_warning(std::string_view room, fmt::format_string<Ts...> format, Ts&&... args) {
  log(log_level::warning, room, format, std::forward<Ts>(args)...);
}
template <class... Ts>
void log_error(std::string_view room, fmt::format_string<Ts...> format, Ts&&... args) {
  log(log_level::error, room, format, std::forward<Ts>(args)...);
}

}  // namespace dlls::base

#include "base/log.hpp"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <cstdlib>

namespace dlls::base {
namespace {

spdlog::level::level_enum to_spdlog(log_level level) {
  switch (level) {
    case log_level::debug:
      return spdlog::level::debug;
    case log_level::info:
      return spdlog::level::info;
    case log_level::warning:
      return spdlog::level::warn;
    case log_level::error:
      return spdlog::level::err;
    case log_level::off:
      return spdlog::level::off;
  }
  return spdlog::level::info;
}

log_level level_from_environment() {
  const char* text = std::getenv("DLLS_LOG");
  const std::string_view wanted = text ? text : "info";
  if (wanted == "debug") return log_level::debug;
  if (wanted == "warning") return log_level::warning;
  if (wanted == "error") return log_level::error;
  if (wanted == "off") return log_level::off;
  return log_level::info;
}

spdlog::logger& logger() {
  static auto* instance = [] {  // never destroyed: threads may log while statics die
    auto* made = new spdlog::logger("dlls", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    made->set_pattern("%Y-%m-%dT%H:%M:%S.%eZ %l %v", spdlog::pattern_time_type::utc);
    made->set_level(to_spdlog(level_from_environment()));
    made->flush_on(spdlog::level::debug);
    return made;
  }();
  return *instance;
}

}  // namespace

void set_log_level(log_level level) { logger().set_level(to_spdlog(level)); }

bool log_enabled(log_level level) noexcept { return logger().should_log(to_spdlog(level)); }

void log_line(log_level level, std::string_view room, std::string_view message) {
  logger().log(to_spdlog(level), "{}: {}", room, message);
}

}  // namespace dlls::base

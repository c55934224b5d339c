#include "cli/progress_bar.hpp"

#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>

namespace dlls::cli {

progress_bar::progress_bar(std::string label)
    : label_(std::move(label)), terminal_(isatty(STDERR_FILENO) == 1) {}

progress_bar::~progress_bar() { finish(); }

void progress_bar::show(std::uint64_t done, std::uint64_t total, const std::string& note) {
  constexpr int width = 32;
  const double share =
      total ? std::min(1.0, static_cast<double>(done) / static_cast<double>(total)) : 0;
  if (!terminal_) {  // a log: a line for every tenth
    const int tenth = static_cast<int>(share * 10);
    if (tenth == last_tenth_) return;
    last_tenth_ = tenth;
    fmt::print(stderr, "{} {:3.0f} % {}\n", label_, share * 100, note);
    return;
  }
  const auto filled = static_cast<std::size_t>(share * width);
  fmt::print(
      stderr, "\r{} [{}{}] {:3.0f} % {}\033[K", label_, std::string(filled, '='),
      std::string(width - filled, ' '), share * 100, note);
  drawn_ = true;
}

void progress_bar::finish() {
  if (drawn_) fmt::print(stderr, "\n");
  drawn_ = false;
}

std::string duration_text(double seconds) {
  const auto whole = static_cast<long>(seconds + 0.5);
  if (whole >= 3600) return fmt::format("{} h {:02} min", whole / 3600, whole % 3600 / 60);
  if (whole >= 60) return fmt::format("{} min {:02} s", whole / 60, whole % 60);
  return fmt::format("{} s", whole);
}

std::string bytes_text(double bytes) {
  constexpr const char* units[] = {"B", "kB", "MB", "GB", "TB"};
  int unit = 0;
  while (bytes >= 1000 && unit < 4) bytes /= 1000, ++unit;
  return unit == 0 ? fmt::format("{:.0f} B", bytes) : fmt::format("{:.1f} {}", bytes, units[unit]);
}

}  // namespace dlls::cli

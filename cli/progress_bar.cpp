#include "cli/progress_bar.hpp"

#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>

namespace dlls::cli {

progress_bar::progress_bar(std::string label, pace of_lines)
    : label_(std::move(label)), pace_(of_lines), terminal_(isatty(STDERR_FILENO) == 1) {}

progress_bar::~progress_bar() { finish(); }

bool progress_bar::due(double share) {
  if (pace_ == pace::seconds) {
    const auto now = std::chrono::steady_clock::now();
    if (share < 1 && now - last_line_ < std::chrono::seconds{1}) return false;
    last_line_ = now;
  }
  const int tenth = static_cast<int>(share * 10);
  if (tenth == last_tenth_ && (pace_ == pace::tenths || share >= 1)) return false;
  last_tenth_ = tenth;
  return true;
}

void progress_bar::show(std::uint64_t done, std::uint64_t total, const std::string& note) {
  constexpr int width = 32;
  const double share =
      total ? std::min(1.0, static_cast<double>(done) / static_cast<double>(total)) : 0;
  if (!terminal_) {  // a log
    if (!due(share)) return;
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

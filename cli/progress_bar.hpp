// One line that redraws itself on a terminal, and stays quiet lines elsewhere.
#pragma once
#include <chrono>
#include <cstdint>
#include <string>

namespace dlls::cli {

class progress_bar {
 public:
  // Where there is no terminal: a line for every tenth, or one a second at most.
  enum class pace { tenths, seconds };
  // `label` stands in front; drawing goes to standard error.
  explicit progress_bar(std::string label, pace of_lines = pace::tenths);
  ~progress_bar();
  progress_bar(const progress_bar&) = delete;
  progress_bar& operator=(const progress_bar&) = delete;
  // `note` stands behind the bar: loss, speed, remaining time.
  void show(std::uint64_t done, std::uint64_t total, const std::string& note = "");
  void finish();

 private:
  std::string label_;
  bool due(double share);  // a line, where there is no terminal

  pace pace_;
  bool terminal_;
  bool drawn_ = false;
  std::chrono::steady_clock::time_point last_line_{};
  int last_tenth_ = -1;
};

// "1 h 02 min", "3 min 20 s", "12 s"
std::string duration_text(double seconds);
// "270.4 MB"
std::string bytes_text(double bytes);

}  // namespace dlls::cli

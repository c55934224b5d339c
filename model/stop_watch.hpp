// Stop strings in a stream of text.
#pragma once
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace dlls::model {

// Finds stop strings in a text that comes in pieces, and holds back what might become one.
// The outcome does not depend on how the text was cut: the stop string that is complete first wins,
// and of two that are complete at once the longer. One stream, one thread at a time.
class stop_watch {
 public:
  // None of them empty. No strings: everything passes at once.
  explicit stop_watch(std::vector<std::string> stops) : stops_(std::move(stops)) {}
  // What may be shown of everything so far that was not shown yet.
  std::string add(std::string_view text);
  // The end of the text: what was still held back. Empty after a stop string.
  std::string finish();
  bool stopped() const noexcept { return stopped_; }

 private:
  std::vector<std::string> stops_;
  std::string held_;
  bool stopped_ = false;
};

}  // namespace dlls::model

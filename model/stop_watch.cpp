#include "model/stop_watch.hpp"

#include <algorithm>
#include <utility>

namespace dlls::model {

std::string stop_watch::add(std::string_view text) {
  if (stopped_) return {};
  held_ += text;
  // The match that ends first, and of those the longest: so the answer does not depend on how the
  // text was cut into pieces.
  std::size_t first_end = held_.npos, begin = held_.npos;
  for (const auto& stop : stops_) {
    const auto at = held_.find(stop);
    if (at == held_.npos) continue;
    if (std::pair{at + stop.size(), at} < std::pair{first_end, begin})
      first_end = at + stop.size(), begin = at;
  }
  if (first_end != held_.npos) {
    stopped_ = true;
    return std::exchange(held_, {}).substr(0, begin);
  }
  // Keeps the longest end that may still become a stop string.
  std::size_t keep = 0;
  for (const auto& stop : stops_)
    for (auto n = std::min(stop.size() - 1, held_.size()); n > keep; --n)
      if (std::string_view{held_}.ends_with(std::string_view{stop}.substr(0, n))) keep = n;
  auto shown = held_.substr(0, held_.size() - keep);
  held_.erase(0, shown.size());
  return shown;
}

std::string stop_watch::finish() { return std::exchange(held_, {}); }

}  // namespace dlls::model

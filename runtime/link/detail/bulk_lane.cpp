#include "runtime/link/detail/bulk_lane.hpp"

#include <algorithm>

namespace dlls::runtime::link::detail {

bool bulk_lane::has_parts_of(std::uint64_t source) const noexcept {
  return std::ranges::find(streams_, source, &stream::source) != streams_.end();
}

bool bulk_lane::take(const frame_header& header, std::span<const char> frame) {
  if (header.op == operation::down_message && has_parts_of(header.source)) {
    last_words_.push_back({header.source, {frame.begin(), frame.end()}});
  } else if (is_of_stream(header)) {
    // A handful of streams at a time: a list is searched faster than anything cleverer.
    auto found = std::ranges::find_if(streams_, [&](const stream& s) {
      return s.actor == header.destination && s.call == header.request_id();
    });
    if (found == streams_.end())
      found = streams_.insert(
          streams_.end(), stream{header.source, header.destination, header.request_id(), {}});
    found->frames.emplace_back(frame.begin(), frame.end());
  } else {
    return false;
  }
  bytes_ += frame.size();
  return true;
}

std::optional<std::vector<char>> bulk_lane::pop() {
  const auto due = std::ranges::find_if(
      last_words_, [&](const last_word& word) { return !has_parts_of(word.source); });
  std::vector<char> frame;
  if (due != last_words_.end()) {
    frame = std::move(due->frame);
    last_words_.erase(due);
  } else if (!streams_.empty()) {
    auto& first = streams_.front();
    frame = std::move(first.frames.front());
    first.frames.pop_front();
    if (first.frames.empty())
      streams_.pop_front();
    else
      streams_.splice(streams_.end(), streams_, streams_.begin());
  } else {
    return std::nullopt;
  }
  bytes_ -= frame.size();
  return frame;
}

}  // namespace dlls::runtime::link::detail

#include "runtime/link/detail/bulk_lane.hpp"

#include <algorithm>

namespace dlls::runtime::link::detail {

void bulk_lane::push(const frame_header& header, std::span<const char> frame) {
  // A handful of streams at a time: a list is searched faster than anything cleverer.
  auto found = std::ranges::find_if(streams_, [&](const stream& s) {
    return s.actor == header.destination && s.call == header.request_id();
  });
  if (found == streams_.end())
    found = streams_.insert(streams_.end(), stream{header.destination, header.request_id(), {}});
  found->frames.emplace_back(frame.begin(), frame.end());
  bytes_ += frame.size();
}

std::optional<std::vector<char>> bulk_lane::pop() {
  if (streams_.empty()) return std::nullopt;
  auto& first = streams_.front();
  auto frame = std::move(first.frames.front());
  first.frames.pop_front();
  bytes_ -= frame.size();
  if (first.frames.empty())
    streams_.pop_front();
  else
    streams_.splice(streams_.end(), streams_, streams_.begin());
  return frame;
}

}  // namespace dlls::runtime::link::detail

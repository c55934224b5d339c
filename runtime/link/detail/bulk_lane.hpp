// Frames that give way to all others: the parts of streams. Kept in order within a stream, taken
// from the streams in turn, so that a few tokens need not wait behind a whole model. What one
// stream holds here is bounded by the credit its subscriber granted. Pure; one a link.
#pragma once
#include <cstdint>
#include <deque>
#include <list>
#include <optional>
#include <span>
#include <vector>

#include "runtime/link/detail/gate.hpp"

namespace dlls::runtime::link::detail {

class bulk_lane {
 public:
  // Does this frame of ours belong to a stream? Its end does, too: it must not overtake the parts.
  static bool takes(const frame_header& header) noexcept {
    return header.op == operation::direct_message && header.is_response() &&
           header.call().is_ours() && header.call().kind() == runtime::detail::call_kind::stream;
  }

  void push(const frame_header& header, std::span<const char> frame);
  // Of the stream whose turn it is.
  std::optional<std::vector<char>> pop();
  bool empty() const noexcept { return streams_.empty(); }
  std::size_t bytes() const noexcept { return bytes_; }

 private:
  struct stream {
    std::uint64_t actor = 0;  // the subscriber
    std::uint64_t call = 0;
    std::deque<std::vector<char>> frames;
  };
  std::list<stream> streams_;  // those that have frames; the first is next
  std::size_t bytes_ = 0;
};

}  // namespace dlls::runtime::link::detail

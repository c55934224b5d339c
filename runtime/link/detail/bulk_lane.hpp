// Frames that give way to all others: the parts of streams. Kept in order within a stream, taken
// from the streams in turn, so that a few tokens need not wait behind a whole model. What one
// stream holds here is bounded by the credit its subscriber granted. The word that a producer has
// ended waits behind its parts: it must not make them late. Pure; one a link.
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
  // A part of a stream, or its end, which must not overtake the parts.
  static bool is_of_stream(const frame_header& header) noexcept {
    return header.op == operation::direct_message && header.is_response() &&
           header.call().is_ours() && header.call().kind() == runtime::detail::call_kind::stream;
  }

  // False: this frame of ours need not wait.
  bool take(const frame_header& header, std::span<const char> frame);
  // Of the stream whose turn it is.
  std::optional<std::vector<char>> pop();
  bool empty() const noexcept { return streams_.empty() && last_words_.empty(); }
  std::size_t bytes() const noexcept { return bytes_; }

 private:
  struct stream {
    std::uint64_t source = 0;  // the producer
    std::uint64_t actor = 0;   // the subscriber
    std::uint64_t call = 0;
    std::deque<std::vector<char>> frames;
  };
  struct last_word {
    std::uint64_t source = 0;
    std::vector<char> frame;
  };
  bool has_parts_of(std::uint64_t source) const noexcept;

  std::list<stream> streams_;  // those that have frames; the first is next
  std::list<last_word> last_words_;
  std::size_t bytes_ = 0;
};

}  // namespace dlls::runtime::link::detail

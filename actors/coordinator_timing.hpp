// Each wait of the protocol, with its reason. Tests shorten them on virtual time.
#pragma once
#include <chrono>

#include "base/limits.hpp"

namespace dlls::actors {

struct coordinator_timing {
  std::chrono::milliseconds offer{
      std::chrono::minutes{10}};  // until `received`: inputs travel first
  std::chrono::milliseconds answer{std::chrono::seconds{30}};  // release, cancel, one chunk
  std::chrono::milliseconds status = base::limits::status_answer;
  std::chrono::milliseconds grace = base::limits::lease_grace;
  // When a running job has said nothing for this long, its node is asked once; then again after
  // three times the rest that the node expects, within these bounds, or as long as first when it
  // can't tell.
  std::chrono::milliseconds deadline{std::chrono::hours{1}};
  std::chrono::milliseconds deadline_least{std::chrono::minutes{5}};
  std::chrono::milliseconds deadline_most{std::chrono::hours{6}};
  // A fetched result that nobody released is released after this.
  std::chrono::milliseconds retention{std::chrono::hours{24 * 7}};
  // A job that no node has taken by then is expired.
  std::chrono::milliseconds waiting{std::chrono::hours{24 * 7}};
  // A pick-up that failed on an open link (a chunk came late, our disk was full) is tried again.
  std::chrono::milliseconds pick_up_again{std::chrono::seconds{30}};
  // What the ledger could not take (its queue was full) is asked of it again.
  std::chrono::milliseconds ledger_again{std::chrono::seconds{5}};
  // A node that refused for lack of space is offered nothing for this long.
  std::chrono::milliseconds full_pause{std::chrono::minutes{1}};
};

}  // namespace dlls::actors

// The actor that answers prompts: several generations at a time, a token of each in turn, on one
// thread.
#pragma once
#include <caf/typed_actor.hpp>
#include <compare>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <utility>

#include "actors/generation.hpp"
#include "actors/messages.hpp"
#include "actors/model_cache.hpp"
#include "kernels/parallel.hpp"
#include "runtime/co_actor.hpp"
#include "runtime/completion.hpp"
#include "runtime/offload.hpp"

namespace dlls::actors {

// Local to the node's process; never on a link. The coordinator numbers its requests, and another
// process of it may use a number again: a generation is named by the node's session and the number.
struct generation_id {
  std::uint64_t session = 0;  // session::epoch
  std::uint64_t request = 0;
  friend auto operator<=>(const generation_id&, const generation_id&) = default;
};
struct session_generate {
  std::uint64_t session = 0;
  generate said;
  session_generate() = default;
  session_generate(std::uint64_t s, generate g) : session(s), said(std::move(g)) {}
};
struct session_tokens {
  std::uint64_t session = 0;
  tokens piece;
  session_tokens() = default;
  session_tokens(std::uint64_t s, tokens p) : session(s), piece(std::move(p)) {}
};
struct session_stop {
  generation_id which;
  session_stop() = default;
  explicit session_stop(generation_id w) : which(w) {}
};
// The link has ended: nobody is left to hear any of its answers.
struct session_ended {
  std::uint64_t session = 0;
  session_ended() = default;
  explicit session_ended(std::uint64_t s) : session(s) {}
};

using inference_actor = caf::typed_actor<
    caf::replies_to<session_generate>::with<generated>, caf::reacts_to<session_stop>,
    caf::reacts_to<session_ended>>;

// Gets the pieces of a streamed generation.
using tokens_listener = caf::typed_actor<caf::reacts_to<session_tokens>>;

// Generations at a time; each keeps a key-value cache. Further ones wait in the order they came.
inline constexpr std::size_t generations_max = 8;
// Generations that wait; one more is refused with resource_exhausted. A request of 16 choices, the
// most that the gateway takes, always finds room on a node that is at work on another such.
inline constexpr std::size_t generations_waiting_max = 32;
// A piece of a stream is sent when this much time has passed since the last: on the link, ten
// tokens in one frame cost a tenth of the bytes that ten frames do.
inline constexpr auto stream_piece_every = std::chrono::milliseconds{50};

class inference final : public runtime::co_actor<inference_actor> {
 public:
  inference(
      caf::actor_config& config, std::shared_ptr<model_cache> models,
      std::shared_ptr<kernels::thread_pool> compute, std::shared_ptr<runtime::worker_pool> thread);
  behavior_type make_behavior() override;

 private:
  // Streams to the sender when asked to; the answer holds what no piece carried.
  runtime::task<generated> answer(session_generate order);
  void stop(session_stop order);
  void stop_all(session_ended order);

  // A generation's place in the books, however its coroutine ends.
  class seat;
  struct place {
    bool running = false;
    bool stopped = false;
    std::optional<runtime::resolver<bool>> wake;  // while it waits
  };
  void stop_one(generation_id id);
  void leave(generation_id id);

  std::shared_ptr<model_cache> models_;
  std::shared_ptr<kernels::thread_pool> compute_;
  std::shared_ptr<runtime::worker_pool> thread_;
  std::map<generation_id, place> places_;
  std::deque<generation_id> waiting_;  // in order; empty unless generations_max run
  std::size_t running_ = 0;
};

}  // namespace dlls::actors
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(dlls::actors::session_generate)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(dlls::actors::session_tokens)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(dlls::actors::session_stop)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(dlls::actors::session_ended)

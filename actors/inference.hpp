// The actor that answers prompts: several generations at a time, a token of each in turn, on one
// thread.
#pragma once
#include <caf/typed_actor.hpp>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>

#include "actors/generation.hpp"
#include "actors/messages.hpp"
#include "actors/model_cache.hpp"
#include "kernels/parallel.hpp"
#include "runtime/co_actor.hpp"
#include "runtime/completion.hpp"
#include "runtime/offload.hpp"

namespace dlls::actors {

using inference_actor = caf::typed_actor<caf::replies_to<generate>::with<runtime::part<piece>>>;

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
  // Ends, and gives its place to the next, when the asker unsubscribes.
  runtime::stream<piece> answer(generate order);

  class seat;
  std::shared_ptr<model_cache> models_;
  std::shared_ptr<kernels::thread_pool> compute_;
  std::shared_ptr<runtime::worker_pool> thread_;
  std::deque<seat*> waiting_;  // in order; empty unless generations_max run
  std::size_t running_ = 0;
};

}  // namespace dlls::actors

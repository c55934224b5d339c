// The actor that answers prompts: several generations at a time, a token of each in turn, on one
// thread.
#pragma once
#include <caf/typed_actor.hpp>
#include <memory>
#include <set>

#include "actors/generation.hpp"
#include "actors/messages.hpp"
#include "actors/model_cache.hpp"
#include "kernels/parallel.hpp"
#include "runtime/co_actor.hpp"
#include "runtime/offload.hpp"

namespace dlls::actors {

using inference_actor =
    caf::typed_actor<caf::replies_to<generate>::with<generated>, caf::reacts_to<stop_generation>>;

// Gets the pieces of a streamed generation.
using tokens_listener = caf::typed_actor<caf::reacts_to<tokens>>;

// Generations at a time; one more is refused with resource_exhausted. Each keeps a key-value cache.
inline constexpr std::size_t generations_max = 8;
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
  runtime::task<generated> answer(generate request);
  void stop(stop_generation which);

  std::shared_ptr<model_cache> models_;
  std::shared_ptr<kernels::thread_pool> compute_;
  std::shared_ptr<runtime::worker_pool> thread_;
  std::set<std::uint64_t> running_;
  std::set<std::uint64_t> stopped_;  // subset of running_
};

}  // namespace dlls::actors

// The actor that answers prompts and embeds texts: an engine for every model in use, each of which
// makes a token of all its answers in a step, on one thread for all.
#pragma once
#include <caf/typed_actor.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>

#include "actors/messages.hpp"
#include "actors/model_cache.hpp"
#include "kernels/parallel.hpp"
#include "model/engine.hpp"
#include "runtime/co_actor.hpp"
#include "runtime/offload.hpp"

namespace dlls::actors {

using inference_actor = caf::typed_actor<
    caf::replies_to<generate>::with<runtime::part<piece>>,
    caf::replies_to<embed>::with<runtime::part<embedded>>>;

// A piece of a stream is sent when this much time has passed since the last: on the link, ten
// tokens in one frame cost a tenth of the bytes that ten frames do.
inline constexpr auto stream_piece_every = std::chrono::milliseconds{50};

struct inference_options {
  model::engine_limits limits;  // of every engine
  // The name of a model that guesses for the others of its vocabulary (model/drafter.hpp); empty:
  // none. Where it can't be had they answer without it, and the log says why.
  std::string draft;
  // A model that was not asked for this long gives its memory back.
  std::chrono::nanoseconds keep_idle = std::chrono::minutes{15};
};

// A model, and the one that guesses for it: null where there is to be none, else it or why not.
struct models_in_use {
  std::shared_ptr<const loaded_model> on;
  base::result<std::shared_ptr<const loaded_model>> draft;
};

class inference final : public runtime::co_actor<inference_actor> {
 public:
  // `preparing` loads models and encodes prompts; `thread` computes, with the threads of `compute`.
  inference(
      caf::actor_config& config, std::shared_ptr<model_cache> models,
      std::shared_ptr<kernels::thread_pool> compute,
      std::shared_ptr<runtime::worker_pool> preparing, std::shared_ptr<runtime::worker_pool> thread,
      inference_options options);
  behavior_type make_behavior() override;

 private:
  class guest;
  class seat;
  class text_batch;
  class room;
  struct room_parts;

  // Ends, and its sequence with it before the next step, when the asker unsubscribes.
  runtime::stream<piece> answer(generate order);
  runtime::stream<embedded> embed_texts(embed order);
  // Runs on `preparing`; once more when idle rooms have made room.
  template <class T>
  runtime::task<base::result<T>> prepared(std::function<base::result<T>()> work);
  base::result<room_parts> equip(models_in_use by) const;
  std::shared_ptr<room> room_for(models_in_use by);
  // False: there were none.
  bool leave_idle_rooms();
  void keep_going(const std::shared_ptr<room>& at);
  runtime::task<> run(std::shared_ptr<room> at);
  runtime::task<> release_when_idle(std::weak_ptr<room> which);

  std::shared_ptr<model_cache> models_;
  std::shared_ptr<kernels::thread_pool> compute_;
  std::shared_ptr<runtime::worker_pool> preparing_, thread_;
  inference_options options_;
  std::map<const loaded_model*, std::shared_ptr<room>> rooms_;
};

}  // namespace dlls::actors

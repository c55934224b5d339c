// The actor that does a node's long work: one run at a time, on a thread of its own, step by step.
#pragma once
#include <caf/typed_actor.hpp>
#include <map>
#include <memory>
#include <stop_token>
#include <string>
#include <utility>

#include "actors/job_run.hpp"
#include "actors/messages.hpp"
#include "ledger/artifact_store.hpp"
#include "runtime/co_actor.hpp"
#include "runtime/offload.hpp"

namespace dlls::actors {

// Local to the node's process; never on a link.
struct abandon {
  job_ref job;
  abandon() = default;
};
using trainer_actor =
    caf::typed_actor<caf::replies_to<work_order>::with<manifest>, caf::reacts_to<abandon>>;

// Sends `progress` to whoever ordered the work, at most five times a second.
using progress_listener = caf::typed_actor<caf::reacts_to<progress>>;

struct trainer_services {
  std::shared_ptr<model_store> models;
  std::shared_ptr<model_cache> cache;
  std::shared_ptr<ledger::artifact_store> artifacts;
  std::shared_ptr<kernels::thread_pool> compute;
  std::shared_ptr<runtime::worker_pool> thread;  // one thread: steps of one run never overlap
};

class trainer final : public runtime::co_actor<trainer_actor> {
 public:
  trainer(caf::actor_config& config, trainer_services services);
  behavior_type make_behavior() override;

 private:
  // The sealed result. Fails with the run's error, or cancelled when it was abandoned before its
  // model was added; whoever ordered it takes back what came too late for that.
  runtime::task<manifest> work(work_order order);
  void give_up(abandon which);

  trainer_services services_;
  std::map<std::pair<std::string, std::uint64_t>, std::stop_source> working_;  // by id and fence
};

}  // namespace dlls::actors
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(dlls::actors::work_order)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(dlls::actors::abandon)

#include "actors/node.hpp"

#include <algorithm>

#include "runtime/ask.hpp"
#include "runtime/offload.hpp"

namespace dlls::actors {

node::node(caf::actor_config& config, node_services services, std::vector<spool_entry> entries)
    : co_actor(config), services_(std::move(services)), random_(services_.seed) {
  for (auto& entry : entries) {
    const auto id = entry.order.job.id;
    next_place_ = std::max(next_place_, entry.place + 1);
    jobs_[id].entry = std::move(entry);
  }
}

node::behavior_type node::make_behavior() {
  trainer_ = spawn<trainer>(trainer_services{
      services_.models, services_.cache, services_.artifacts, services_.compute,
      services_.training});
  inference_ = spawn<inference>(
      services_.cache, services_.compute, services_.preparing, services_.answering,
      services_.answers);
  link_to(trainer_);
  link_to(inference_);
  tasks().spawn(sweep());  // before any run: the disk thread works in order
  tasks().spawn(work_off());
  if (services_.connect) tasks().spawn(stay_linked());
  // What writes to the disk is not left half done when the cloud gives up waiting.
  return {
      serve(&node::take, detached), serve(&node::give),        serve(&node::let_go, detached),
      serve(&node::stop, detached), serve(&node::tell),        serve(&node::set_watch),
      serve(&node::answer),         serve(&node::embed_texts), serve(&node::note_progress),
      serve(&node::link_closed),
  };
}

node::held* node::find(const job_ref& job) {
  const auto found = jobs_.find(job.id);
  const bool same = found != jobs_.end() && found->second.entry.order.job == job;
  return same ? &found->second : nullptr;
}

// What the folder holds now: it is read anew, on the disk thread.
runtime::task<std::vector<served_model>> node::models() {
  auto read = [store = services_.models] {
    store->refresh();
    std::vector<served_model> list;
    for (const auto& one : store->list())
      list.emplace_back(one.name, one.bytes, one.context, one.created);
    return list;
  };
  co_return co_await runtime::offload(this, *services_.disk, read);
}

runtime::task<> node::tell_models() {
  models_changed news;
  news.models = co_await models();
  if (session_) send(session_->door, std::move(news));
}

}  // namespace dlls::actors

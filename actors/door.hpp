// The door actor: one for each connection, the only actor here that a node may address. It tells
// the coordinator who speaks (the certificate's name, never the node's own word), hands out inputs
// of jobs that were granted to that node, and brings generations to their sinks.
// It dies with its link.
#pragma once
#include <map>
#include <memory>
#include <string>

#include "actors/coordinator.hpp"

namespace dlls::actors {

struct door_services {
  std::string node;         // by the peer's certificate
  std::uint64_t epoch = 0;  // of the connection
  std::function<link_reading()> account;
  coordinator_actor coordinator;
  std::shared_ptr<ledger::ledger> jobs;
  std::shared_ptr<ledger::artifact_store> artifacts;
  std::shared_ptr<runtime::worker_pool> disk;
};

class door final : public runtime::co_actor<door_actor> {
 public:
  door(caf::actor_config& config, door_services services);
  behavior_type make_behavior() override;
  // Lets go of coordinator and node: the coordinator holds this door, and CAF keeps an actor's
  // members until the last handle to it goes.
  void on_exit() override;

 private:
  runtime::task<welcome> greet(hello said);
  // permission_denied unless the ledger has granted that job to this node under that fence and the
  // artifact is one of its inputs.
  runtime::stream<chunk> hand_out(fetch_input request);
  runtime::task<noted> pass_ready(ready word);
  runtime::task<noted> pass_failed(failed word);
  void pass_models(models_changed news);
  void pass_progress(progress step);
  void begin_generation(start_generation order);
  runtime::task<> generate_for(start_generation order);
  void begin_embedding(start_embedding order);
  runtime::task<> embed_for(start_embedding order);
  runtime::task<base::result<gateway::embedding_list>> gather_vectors(embed request);
  runtime::task<> feed(generate request, std::shared_ptr<gateway::generation_sink> sink);
  void stop(stop_generation which);

  door_services services_;
  ledger_calls<door> ledger_;
  node_door at_;                                            // known from the first message on
  std::map<std::uint64_t, runtime::resolver<bool>> stops_;  // of the running generations
};

}  // namespace dlls::actors

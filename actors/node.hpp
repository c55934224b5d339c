// The node actor: the home side of the protocol. It keeps the spool, orders work from the trainer
// and inference actors, stays linked to the coordinator, and repeats "ready" until the cloud has
// noted it.
//
// Its exported interface is node_door; the rest is for actors of its own process and never allowed
// on a link. Single-threaded like every actor; disk work goes through `disk`, one thread, so that
// entries of one job are written in order.
#pragma once
#include <caf/typed_actor.hpp>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "actors/inference.hpp"
#include "actors/messages.hpp"
#include "actors/spool.hpp"
#include "actors/trainer.hpp"
#include "actors/transfer.hpp"
#include "base/random.hpp"
#include "runtime/co_actor.hpp"
#include "runtime/completion.hpp"

namespace dlls::actors {

// One link to the coordinator, as the node sees it.
struct session {
  std::uint64_t epoch = 0;  // of this process's connections, rising
  cloud_door door;
  std::function<link_account()> account;  // bytes and packets so far, both directions
  std::function<void(std::string why)> close;
};

// Makes one attempt. `done` is called once, `closed` at most once after a success; both on any
// thread.
using connect_function = std::function<void(
    caf::strong_actor_ptr exported, std::function<void(base::result<session>)> done,
    std::function<void(std::string why)> closed)>;

// Reconnects after 1 s, then twice as long each time up to a minute, each with up to 50 % jitter.
struct reconnect_policy {
  std::chrono::milliseconds first{1000};
  std::chrono::milliseconds most{60'000};
};

struct node_services {
  std::shared_ptr<spool> jobs;
  std::shared_ptr<model_store> models;
  std::shared_ptr<ledger::artifact_store> artifacts;
  std::shared_ptr<model_cache> cache;
  std::shared_ptr<kernels::thread_pool> compute;
  std::shared_ptr<runtime::worker_pool> disk, training, answering;  // one thread each
  std::shared_ptr<runtime::worker_pool> preparing;                  // for prompts
  inference_options answers;
  connect_function connect;
  reconnect_policy reconnect;
  std::uint64_t seed = 0;  // of the jitter
};

// Local to the node's process.
struct link_end {
  std::uint64_t epoch = 0;
  std::string why;
  link_end() = default;
};
using node_actor = node_door::extend<caf::reacts_to<progress>, caf::reacts_to<link_end>>;

class node final : public runtime::co_actor<node_actor> {
 public:
  // `entries`: what the spool held at start; accepted ones are worked off again.
  node(caf::actor_config& config, node_services services, std::vector<spool_entry> entries);
  behavior_type make_behavior() override;

 private:
  struct held {
    spool_entry entry;
    bool working = false;
    bool delivering = false;
    bool watched = false;
    progress last;
    std::optional<link_account> quiet_since;  // the account when the silence began
    std::uint64_t quiet_epoch = 0;            // of which session
    std::optional<link_account> silence;      // what passed from then on until it was sealed
  };

  // --- what the coordinator says (node_door.cpp)
  runtime::task<received> take(offer order);
  runtime::task<base::result<>> fetch_inputs(offer order);
  runtime::stream<chunk> give(pull request);
  runtime::task<released> let_go(release order);
  runtime::task<cancelled> stop(cancel order);
  job_status tell(status question);
  void set_watch(watch order);
  runtime::stream<piece> answer(generate request);
  runtime::stream<embedded> embed_texts(embed request);

  // --- work (node_work.cpp)
  runtime::task<> work_off();
  std::string next_job() const;
  runtime::task<> retry_later(job_ref job, std::chrono::seconds pause);
  runtime::task<> work_on(std::string id);
  void note_progress(progress step);
  // The entry that `job` means, if its fence is the one held.
  held* find(const job_ref& job);
  runtime::task<> drop(std::string id);
  runtime::task<> discard(job_ref job, manifest outcome);
  std::set<std::string> used_artifacts() const;
  runtime::task<> sweep();
  void wake_worker();

  // --- link (node_link.cpp)
  void connect(runtime::resolver<std::shared_ptr<session>> done);
  runtime::task<> stay_linked();
  runtime::task<bool> greet(std::shared_ptr<session> fresh);
  runtime::task<> deliver(job_ref job);
  runtime::task<> begin_silence(job_ref job);
  void deliver_soon(const std::string& id);
  void link_closed(link_end end);
  base::result<chunks> open_input(job_ref job, std::string sha256, std::uint64_t offset);
  std::optional<link_account> silence_of(const held& job) const;
  runtime::task<std::vector<served_model>> models();
  runtime::task<> tell_models();

  node_services services_;
  base::random_source random_;
  std::map<std::string, held> jobs_;
  std::uint64_t next_place_ = 0;         // of the next acknowledged job
  std::map<std::string, offer> taking_;  // offers not acknowledged yet, the newest of each job
  std::shared_ptr<session> session_;     // null: no link
  std::optional<runtime::resolver<std::string>> closed_;  // of stay_linked
  std::optional<runtime::resolver<bool>> wake_;           // of work_off
  trainer_actor trainer_;
  inference_actor inference_;
};

}  // namespace dlls::actors
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(dlls::actors::link_end)

// The coordinator actor: the cloud side of the job protocol. It grants queued jobs to nodes, moves
// them along their edges in the ledger, picks results up, and routes prompts. The ledger decides;
// what the actor keeps in memory is who is connected. One per process; spawned by cloud.cpp.
//
// Silence: between `received` and `ready` it sends nothing; its only timers are deadlines.
#pragma once
#include <caf/typed_actor.hpp>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "actors/claim.hpp"
#include "actors/coordinator_state.hpp"
#include "actors/coordinator_timing.hpp"
#include "actors/ledger_calls.hpp"
#include "actors/messages.hpp"
#include "actors/transfer.hpp"
#include "base/clock.hpp"
#include "gateway/generation.hpp"
#include "gateway/jobs.hpp"
#include "ledger/artifact_store.hpp"
#include "ledger/ledger.hpp"
#include "runtime/co_actor.hpp"
#include "runtime/completion.hpp"

namespace dlls::gateway {
class progress_sink;
}

namespace dlls::actors {

// Both directions of one link, as the coordinator counts them.
struct link_reading {
  std::uint64_t bytes_out = 0, bytes_in = 0, packets_out = 0, packets_in = 0;
};

// --- local messages: from doors, the backend and timers of the same process; never on a link
// -----------------

// A prompt on its way to a door, and its answer to the sink.
struct start_generation {
  std::uint64_t request = 0;
  generation_spec spec;
  bool stream = false;
  std::string owner;
  std::shared_ptr<gateway::generation_sink> sink;
  start_generation() = default;
};
// Texts on their way to a door, and their vectors to whoever asked.
struct start_embedding {
  std::uint64_t request = 0;  // as of start_generation
  embed texts;
  std::function<void(base::result<gateway::embedding_list>)> done;
  start_embedding() = default;
};
// Its client has hung up.
struct stop_generation {
  std::uint64_t request = 0;
  stop_generation() = default;
  explicit stop_generation(std::uint64_t r) : request(r) {}
};
// What the door actor of one connection accepts besides the protocol.
using door_actor = cloud_door::extend<
    caf::reacts_to<start_generation>, caf::reacts_to<start_embedding>,
    caf::reacts_to<stop_generation>>;

struct arrival {
  std::string node;
  std::uint64_t epoch = 0;
  node_door at;     // the node itself
  door_actor door;  // its door actor here
  std::function<link_reading()> account;
  hello said;
  arrival() = default;
};
// Zeros where nobody counts (tests without a link).
inline link_reading reading_of(const std::function<link_reading()>& account) {
  return account ? account() : link_reading{};
}
struct departure {
  std::string node;
  std::uint64_t epoch = 0;
  std::string why;
  departure() = default;
};
template <class Message>
struct from_node {
  std::string node;
  Message message;
  from_node() = default;
  from_node(std::string n, Message m) : node(std::move(n)), message(std::move(m)) {}
};
struct wake {};  // something was submitted
struct cancel_job {
  std::string owner, id;
  cancel_job() = default;
};
struct release_job {
  std::string owner, id;
  release_job() = default;
};
struct watch_job {
  std::string owner, id;
  std::uint64_t watcher = 0;
  std::shared_ptr<gateway::progress_sink> sink;
  watch_job() = default;
};
struct unwatch_job {
  std::uint64_t watcher = 0;
  unwatch_job() = default;
};
struct bring_artifact {  // to the cloud's store, from the node that has it
  ledger::job job;
  artifact_ref what;
  bring_artifact() = default;
};
struct ask_nodes {};
struct node_list {
  std::vector<node_view> nodes;
  std::map<std::string, link_reading> readings;  // of the connected ones
  node_list() = default;
};

using coordinator_actor = caf::typed_actor<
    caf::replies_to<arrival>::with<welcome>, caf::reacts_to<departure>,
    caf::replies_to<from_node<ready>>::with<noted>, caf::replies_to<from_node<failed>>::with<noted>,
    caf::reacts_to<from_node<models_changed>>, caf::reacts_to<from_node<progress>>,
    caf::reacts_to<wake>, caf::replies_to<cancel_job>::with<ledger::job>,
    caf::replies_to<release_job>::with<ledger::job>, caf::reacts_to<watch_job>,
    caf::reacts_to<unwatch_job>, caf::reacts_to<start_generation>, caf::reacts_to<start_embedding>,
    caf::reacts_to<stop_generation>, caf::replies_to<bring_artifact>::with<artifact_ref>,
    caf::replies_to<ask_nodes>::with<node_list>>;

struct coordinator_services {
  std::shared_ptr<ledger::ledger> jobs;
  std::shared_ptr<ledger::artifact_store> artifacts;
  std::shared_ptr<runtime::worker_pool> disk;
  const base::clock* clock = &base::system_clock();
  coordinator_timing timing;
  std::function<void()> outbox_written;  // the sender looks; any thread
};

class coordinator final : public runtime::co_actor<coordinator_actor> {
 public:
  coordinator(caf::actor_config& config, coordinator_services services);
  behavior_type make_behavior() override;

 private:
  struct connected {
    std::uint64_t epoch = 0;
    node_door at;
    door_actor door;
    std::function<link_reading()> account;
  };
  struct receipt {
    std::uint64_t epoch = 0;  // of the link that the reading is of
    link_reading reading;
  };
  struct watcher {
    std::string job;
    std::shared_ptr<gateway::progress_sink> sink;
    bool admitted = false;  // the ledger has said that the job is its owner's and not at its end
  };

  // --- nodes (coordinator_nodes.cpp)
  runtime::task<welcome> greet(arrival who);
  runtime::task<> settle(std::string node, reconciliation plan);
  runtime::task<> resume(ledger::job job, std::string node);
  void see_off(departure who);
  runtime::task<> pause_jobs(std::string node, std::string why);
  runtime::task<> await_return(std::string node);
  runtime::task<> recheck(std::string id, std::string node);
  runtime::task<> recover();
  void change_models(from_node<models_changed> news);
  runtime::task<> remember_models();
  node_list list(ask_nodes);

  // --- jobs (coordinator_jobs.cpp)
  void begin_dispatch(wake);
  runtime::task<> dispatch();
  runtime::task<> dispatch_later(std::chrono::milliseconds pause);
  runtime::task<> validate(std::string id);
  runtime::task<> run(ledger::job job, std::string node);
  runtime::task<> refused(ledger::job job, std::string node, base::error why);
  runtime::task<base::result<ledger::job>> pause_one(ledger::job job, std::string why);
  runtime::task<base::result<ledger::job>> resume_one(ledger::job job, std::string node);
  runtime::task<> ask_when_late(std::string id, std::uint64_t fence);
  runtime::task<ledger::job> cancel_one(cancel_job order);
  runtime::task<ledger::job> release_one(release_job order);
  template <class Order>
  runtime::task<> tell_node(ledger::job job);
  runtime::task<> keep_house();
  runtime::task<> expire_old(std::int64_t before_ms);
  runtime::task<> release_old(std::int64_t before_ms);
  runtime::task<> sweep_artifacts();
  void ended(const ledger::job& job);

  // --- results (coordinator_results.cpp)
  runtime::task<noted> take_ready(from_node<ready> word);
  runtime::task<noted> take_failed(from_node<failed> word);
  runtime::task<> pick_up(std::string id, std::string node);
  enum class pulled : std::uint8_t { settled, again, damaged };
  runtime::task<pulled> pick_up_once(std::string id, std::string node, bool last_try);
  runtime::task<> tell_curve(ledger::job job);
  runtime::task<base::result<>> pull_artifact(ledger::job job, std::string node, artifact_ref what);
  base::result<chunks> open_result(
      std::string node, job_ref job, std::string sha256, std::uint64_t offset);
  runtime::task<artifact_ref> bring(bring_artifact order);
  void watch_one(watch_job order);
  runtime::task<> begin_watch(watch_job order);
  void watch_again(const ledger::job& job);
  void unwatch(unwatch_job order);
  void note_progress(from_node<progress> step);
  // The door of the node that serves it; unavailable or not_found.
  base::result<door_actor> door_to(const std::string& model);
  void route(start_generation order);
  void route_embedding(start_embedding order);
  void stop_generating(stop_generation which);

  // --- the link's account of one job
  void count_phase(
      const std::string& job, std::string phase, const link_reading& from, const link_reading& to,
      double seconds);
  void count_quiet_phases(
      const ledger::job& job, const ready& said, std::uint64_t epoch, const link_reading& now);
  connected* find_connected(const std::string& node);
  std::set<std::string> full_nodes() const;

  runtime::task<base::result<ledger::job>> advance(ledger::edge step);
  // The same, again and again while the ledger cannot take it: for edges that nobody would repeat.
  runtime::task<base::result<ledger::job>> advance_surely(ledger::edge step);
  // Whether the ledger may take later what it did not take now.
  static bool may_pass(const base::error& why);
  // The edge to `failed` with its event and webhook; fence and node are the caller's.
  ledger::edge failing(
      const ledger::job& job, ledger::state_set from, std::string_view code,
      std::string_view why) const;
  runtime::task<base::result<std::vector<ledger::job>>> all_jobs(
      ledger::state_set states, std::string node = {});

  coordinator_services services_;
  ledger_calls<coordinator> ledger_;
  coordinator_state state_;
  std::map<std::string, connected> connected_;
  std::map<std::uint64_t, watcher> watchers_;
  std::map<std::string, std::int64_t> full_until_ms_;  // nodes that refused for lack of space
  std::map<std::string, receipt> received_at_;         // by job: when `received` came
  std::set<std::string> busy_;                         // jobs that a coroutine of ours is moving
  std::set<std::string> validating_;                   // those of them whose inputs are being read
  std::set<std::string> picking_;                      // jobs whose result is being picked up
  std::set<std::string> timed_;                        // "job/fence" with an ask_when_late
  // When each paused job was paused, on the clock that nobody sets. A job unknown here was paused
  // before this process began.
  std::map<std::string, std::chrono::milliseconds> paused_at_;
  std::map<std::string, bool> awaited_;  // nodes with an await_return; true: look once more
  std::map<std::string, std::uint64_t> departed_;  // epoch of each node's last lost session
  bool dispatching_ = false, dispatch_again_ = false;
};

// The webhook that tells of a job's end: OpenAI's type for a fine-tune, ours for other kinds.
ledger::new_outbox_row webhook_for(
    const ledger::job& job, std::string_view outcome, std::int64_t now_ms);

}  // namespace dlls::actors
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(dlls::actors::start_generation)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(dlls::actors::start_embedding)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(dlls::actors::stop_generation)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(dlls::actors::arrival)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(dlls::actors::departure)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(dlls::actors::from_node<dlls::actors::ready>)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(dlls::actors::from_node<dlls::actors::failed>)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(dlls::actors::from_node<dlls::actors::models_changed>)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(dlls::actors::from_node<dlls::actors::progress>)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(dlls::actors::wake)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(dlls::actors::cancel_job)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(dlls::actors::release_job)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(dlls::actors::watch_job)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(dlls::actors::unwatch_job)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(dlls::actors::bring_artifact)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(dlls::actors::ask_nodes)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(dlls::actors::node_list)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(dlls::ledger::job)

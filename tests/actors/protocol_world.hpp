// A coordinator and its nodes in one virtual system, with links made of actors: everything but the
// sockets. Time is virtual; the ledger and the disk are real and on threads of their own, and the
// world lets time pass only when they are idle. With `conditions` it is a simulation: these threads
// work one at a time, in an order that the seed decides, while the actors rest, so that the same
// seed gives the same run.
//
//   world w{seed};
//   auto& home = w.add_node("home");
//   const auto id = w.submit({"content"});
//   REQUIRE(w.until([&] { return w.state(id) == job_state::fetched; }));
//
// One thread, the test's, runs every actor.
#pragma once
#include <chrono>
#include <deque>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "actors/coordinator.hpp"
#include "actors/door.hpp"
#include "actors/message_types.hpp"
#include "actors/node.hpp"
#include "gateway/backend.hpp"
#include "tests/actors/protocol_wire.hpp"
#include "tests/ledger/ledger_fixture.hpp"
#include "tests/sim/devices.hpp"
#include "tests/support/turnstile.hpp"
#include "tests/support/virtual_system.hpp"

namespace dlls::tests {

// CAF's test scheduler, open to wake-ups from foreign threads: they wait until they are let in.
class open_scheduler final : public caf::scheduler::test_coordinator {
 public:
  using test_coordinator::test_coordinator;
  // On the test's thread. False when nobody waited.
  bool let_in();

 protected:
  void enqueue(caf::resumable* who) override;

 private:
  std::thread::id home_ = std::this_thread::get_id();
  std::mutex mutex_;
  std::deque<caf::resumable*> waiting_;
};

// One node's process: its disk outlives it.
struct node_process {
  std::string name;
  actors::node_services services;
  actors::node_actor actor;  // null: not running
  caf::actor link;           // the wire, null without one
  std::uint64_t epoch = 0;   // of the link
  std::function<void(std::string)> closed;
  std::chrono::milliseconds no_link_until{0};
  std::shared_ptr<std::promise<void>> gate;                  // while set, work stands still
  std::unique_ptr<turnstile> training_gate, answering_gate;  // the same, job by job of the pool
  std::size_t held() const { return services.jobs->load().value().size(); }
};

class world {
 public:
  // The conditions, when given, outlive the world.
  explicit world(
      std::uint64_t seed, actors::coordinator_timing timing = {}, conditions* met = nullptr);
  ~world();

  virtual_system& system() { return *system_; }
  base::random_source& chance() { return chance_; }
  const actors::coordinator_actor& cloud() const { return coordinator_; }
  const std::shared_ptr<ledger::ledger>& books() const { return ledger_; }
  // What the next start_coordinator opens the ledger with.
  ledger::sqlite_options& ledger_options() { return ledger_options_; }
  const ledger::artifact_store& cloud_artifacts() const { return *artifacts_; }
  const std::filesystem::path& folder() const { return folder_.path(); }

  node_process& add_node(const std::string& name);
  // Cut off from its power: the cloud learns of it at once, or at some time when `unheard`.
  void stop_node(node_process& node, bool unheard = false);
  void start_node(node_process& node);
  // What it has asked of the ledger and got no answer to is done or not, as chance will have it.
  // The nodes learn of it at once, or at some time when `unheard`.
  void stop_coordinator(bool unheard = false);
  void start_coordinator();  // opens the ledger anew

  // Both sides learn of it, at times of their own when `uneven`.
  void cut(node_process& node, std::chrono::milliseconds away, bool uneven = false);
  // Work that has not begun waits until let_work.
  void hold_work(node_process& node);
  void let_work(node_process& node);

  // As the trainer would: a step of that job, with the rest of its time.
  void tell_progress(node_process& node, const std::string& id, double seconds_left);

  // Cuts the link when the n-th message of that name ("offer") or its answer ("offer answered")
  // passes; once.
  void cut_at(std::string name, std::chrono::milliseconds away, int nth = 1);
  bool cut_happened() const { return cut_name_.empty(); }
  // Messages of that name get lost, and never an answer.
  void lose(const std::string& name) { lost_.insert(name); }
  void find_again() { lost_.clear(); }
  // The bytes of the next `n` chunks of results are wrong when they arrive.
  void damage_chunks(int n) { damaged_chunks_ = n; }
  // From now on the ledger answers nothing; a restart of the coordinator ends it.
  void break_ledger() { ledger_->close(); }
  // As somebody with that key would: over the coordinator itself. False in `watching` looks away.
  void watch(const std::string& id, bool watching, std::shared_ptr<gateway::progress_sink> sink);
  // Says a word to the cloud as the node would, over its link.
  template <class Message>
  base::result<actors::noted> say(node_process& node, Message message) {
    auto got = std::make_shared<std::optional<base::result<actors::noted>>>();
    system_->outside().ask<actors::noted>(
        node.link, std::chrono::minutes{1}, std::move(message),
        [got](base::result<actors::noted> r) { got->emplace(r); });
    until([&] { return got->has_value(); });
    return got->value();
  }
  // Each message that passes cuts its link with this probability, `cuts_max` times in all.
  void cut_at_random(double probability, int cuts_max);

  // A checksum job over these contents. Without an id the ledger makes one.
  std::string submit(
      const std::vector<std::string>& contents, int rounds = 1, const std::string& id = {});
  ledger::job job(const std::string& id);
  ledger::job_state state(const std::string& id) { return job(id).state; }
  std::vector<ledger::event> events(const std::string& id);
  int count_events(const std::string& id, std::string_view text);
  // The "sha256" of the checksum that the cloud's store has; empty when it has none.
  std::string picked_up_sum(const std::string& id);
  base::result<ledger::job> cancel(const std::string& id);
  base::result<ledger::job> release(const std::string& id);
  std::vector<ledger::outbox_row> webhooks();  // all so far
  // Until now, by name of the message: how many passed.
  int passed(const std::string& name) { return passed_[name]; }

  // Runs until everybody waits for time to pass.
  void settle();
  // Lets virtual time pass until the condition holds; at most `limit`.
  bool until(
      std::function<bool()> condition, std::chrono::milliseconds limit = std::chrono::hours{1});
  void advance(std::chrono::milliseconds by);

  // In virtual time, once: on a turn of its own, so it must not let time pass.
  void later(std::chrono::milliseconds by, std::function<void()> action);

  // --- for wires
  std::chrono::microseconds now();
  conditions& met() { return *met_; }
  // Counts it; cuts the link when it is time for that.
  void passes(const std::string& node, const std::string& name);
  bool damages_chunk() { return damaged_chunks_ > 0 && damaged_chunks_-- > 0; }
  bool is_lost(const std::string& name) const { return lost_.contains(name); }

 private:
  void connect(
      node_process& node, caf::strong_actor_ptr exported,
      std::function<void(base::result<actors::session>)> done,
      std::function<void(std::string)> closed);
  void flush();
  void settle_in_order();
  // One thread's, which in a simulation works when it is let.
  std::shared_ptr<runtime::worker_pool> make_pool(std::string name);

  ledger::scratch_folder folder_;
  base::random_source chance_;
  actors::coordinator_timing timing_;
  conditions nothing_special_;
  conditions* met_;
  bool ordered_;
  std::vector<std::unique_ptr<device>> devices_;
  ledger_device* ledger_device_ = nullptr;
  std::shared_ptr<runtime::worker_pool> disk_;
  std::shared_ptr<ledger::artifact_store> artifacts_;
  std::map<std::string, std::unique_ptr<node_process>> nodes_;
  open_scheduler* scheduler_ = nullptr;
  std::unique_ptr<virtual_system> system_;
  ledger::sqlite_options ledger_options_ = ledger::test_options();
  std::shared_ptr<ledger::ledger> ledger_;  // the real one
  actors::coordinator_actor coordinator_;
  std::map<std::uint64_t, caf::actor> doors_;  // by epoch, until the cloud knows of their end
  std::uint64_t epochs_ = 0;
  int damaged_chunks_ = 0;
  std::vector<ledger::outbox_row> webhooks_;

  std::string cut_name_;
  int cut_nth_ = 0;
  std::chrono::milliseconds cut_away_{0};
  double cut_probability_ = 0;
  int cuts_left_ = 0;
  std::set<std::string> lost_;
  std::map<std::string, int> passed_;
};

// Checks that the job ended in `fetched`, once, with the checksum of these contents.
void fetched_once(world& w, const std::string& id, const std::vector<std::string>& contents);
// Lets up to a day pass.
bool until_state(world& w, const std::string& id, ledger::job_state state);

}  // namespace dlls::tests

// What the coordinator knows of its nodes, and the decisions it takes from that: no actor, no disk,
// no clock.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "actors/messages.hpp"
#include "ledger/records.hpp"

namespace dlls::actors {

// Jobs a node holds under a lease at a time: the one it works on, and the next, so that it goes on
// working when the link is away.
inline constexpr std::size_t leases_per_node = 2;

// The states in which a node may hold a job that has not ended.
inline constexpr ledger::state_set granted_states{
    ledger::job_state::offered, ledger::job_state::running, ledger::job_state::lost_contact};

struct node_view {
  std::string name;
  bool connected = false;
  std::uint64_t epoch = 0;    // of its session, while connected
  std::int64_t since_ms = 0;  // of the present state, Unix
  std::string software;
  std::vector<std::string> kinds;
  std::vector<served_model> models;  // kept while it is away
  std::set<std::string> leased;      // ids of jobs offered to it or running there
};

class coordinator_state {
 public:
  void arrive(const std::string& name, std::uint64_t epoch, const hello& said, std::int64_t now_ms);
  // False when a later session has already replaced the one that ended.
  bool depart(const std::string& name, std::uint64_t epoch, std::int64_t now_ms);
  void set_models(const std::string& name, std::vector<served_model> models);

  // The connected node that takes this kind, has the model (when one is named) and the fewest
  // leases below leases_per_node; the first by name among equals. Null: none at present.
  const node_view* choose(
      const std::string& kind, const std::string& model,
      const std::set<std::string>& except = {}) const;
  // The connected node that serves the model, for a synchronous answer.
  const node_view* serving(const std::string& model) const;
  // Whether any node, connected or not, is known to have the model.
  bool known(const std::string& model) const;

  void lease(const std::string& node, const std::string& job);
  void end_lease(const std::string& job);

  const node_view* find(const std::string& name) const;
  const std::map<std::string, node_view>& nodes() const noexcept { return nodes_; }

 private:
  std::map<std::string, node_view> nodes_;
};

// What to do about each job when a node says hello.
struct reconciliation {
  std::vector<ledger::job> resume;   // held under the ledger's fence: it runs, or has ended there
  std::vector<ledger::job> regrant;  // the ledger thinks it is there, the node does not hold it
  std::vector<ledger::job> lost;     // its result was there and is not: it cannot be had any more
  std::vector<ledger::job> pick_up;  // ready and held: the pick-up was interrupted
  std::vector<job_ref> drop;         // held, and the ledger has no use for it
};

// `assigned`: the node's jobs in the states offered, running, lost_contact, ready and fetched.
// Pure.
reconciliation reconcile(std::span<const ledger::job> assigned, std::span<const held_job> held);

inline job_ref ref_of(const ledger::job& job) { return {job.id, job.attempt, job.fence}; }

}  // namespace dlls::actors

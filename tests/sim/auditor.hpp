// Watches a simulated world and writes down what must never happen. It looks from outside: at what
// the ledger answered, what passed the links and what lies on the disks.
#pragma once
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "actors/messages.hpp"
#include "ledger/records.hpp"
#include "tests/sim/ordered_ledger.hpp"

namespace dlls::tests {

class auditor {
 public:
  // `folder`: the world's; a node's spool is in NODE/spool.
  explicit auditor(std::filesystem::path folder) : folder_(std::move(folder)) {}

  // Fences rise by one at a grant and never else; nothing is written under another fence or node
  // than the job's; a job is fetched once; nothing leaves a final state.
  void moved(
      const ledger::asked_edge& asked, const base::result<ledger::job>& before,
      const base::result<ledger::job>& after);
  // `received` follows the disk, and nothing replaces a newer grant that the node works on.
  void acknowledged(const std::string& node, const actors::job_ref& job);
  // `ready` and `failed` follow the disk.
  void said_ended(const std::string& node, const actors::job_ref& job);
  void breach(std::string what) { breaches_.push_back(std::move(what)); }

  // Every edge that was asked for under a fence that is no longer the job's.
  std::vector<ledger::edge> outdated_edges() const;
  // The jobs as the ledger last gave them, by id.
  const std::map<std::string, ledger::job>& jobs() const { return jobs_; }
  const std::vector<std::string>& breaches() const { return breaches_; }

 private:
  std::string stored_state(const std::string& node, const actors::job_ref& job) const;

  std::filesystem::path folder_;
  std::map<std::string, ledger::job> jobs_;
  std::map<std::string, std::uint64_t> acknowledged_;  // by NODE/ID, the highest fence
  std::map<std::string, int> fetched_;
  std::vector<ledger::edge> written_;  // under a fence
  std::vector<std::string> breaches_;
};

}  // namespace dlls::tests

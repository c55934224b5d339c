// What a simulated world's network and disks do to it, drawn from a seed.
#pragma once
#include <array>
#include <chrono>
#include <cstdint>
#include <map>
#include <string>

#include "base/random.hpp"
#include "tests/actors/protocol_world.hpp"
#include "tests/sim/auditor.hpp"

namespace dlls::tests {

class weather final : public conditions {
 public:
  // With `tell` every message is printed with its virtual time.
  weather(std::uint64_t seed, bool tell) : chance_(seed), tell_(tell) {}
  // After the world is made.
  void begin(world& in, auditor& by) { world_ = &in, auditor_ = &by; }
  // From now on everything passes, quickly.
  void calm();
  // Nothing passes in that direction until then, or until calm().
  void block(const std::string& node, direction way, std::chrono::microseconds until);
  // Into the trace; printed when told to.
  void note(const std::string& what);
  std::uint64_t trace() const { return trace_; }
  int seen(const std::string& message) const;

  std::chrono::microseconds delay(const std::string& node, direction way) override;
  std::chrono::microseconds blocked(const std::string& node, direction way) override;
  bool comes_again(const std::string& message) override;
  std::chrono::milliseconds again_after() override;
  std::chrono::milliseconds stalls(const std::string& device) override;
  bool ledger_is_full() override;
  void left(const std::string& node, const std::string& message) override;
  void moved(
      const ledger::asked_edge& asked, const base::result<ledger::job>& before,
      const base::result<ledger::job>& after) override;
  void acknowledged(const std::string& node, const actors::job_ref& job) override;
  void said_ended(const std::string& node, const actors::job_ref& job) override;

 private:
  base::random_source chance_;
  bool tell_, calm_ = false;
  world* world_ = nullptr;
  auditor* auditor_ = nullptr;
  std::map<std::string, std::array<std::chrono::microseconds, 2>> blocked_until_;
  std::chrono::microseconds full_until_{0};  // the ledger's queue
  std::map<std::string, int> seen_;
  std::uint64_t trace_ = 0xcbf29ce484222325u;
};

}  // namespace dlls::tests

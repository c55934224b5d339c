#include "tests/sim/weather.hpp"

#include <fmt/core.h>

namespace dlls::tests {
using namespace std::chrono_literals;
using std::chrono::microseconds;
using std::chrono::milliseconds;

void weather::calm() {
  calm_ = true;
  blocked_until_.clear();
}

void weather::block(const std::string& node, direction way, microseconds until) {
  auto& known = blocked_until_[node][static_cast<std::size_t>(way)];
  known = std::max(known, until);
}

void weather::note(const std::string& what) {
  const auto at = world_ ? world_->now().count() : 0;
  const auto line = fmt::format("{} {}", at, what);
  for (const char c : line) trace_ = (trace_ ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  if (tell_) fmt::print("{:>12.3f} s  {}\n", static_cast<double>(at) / 1e6, what);
}

int weather::seen(const std::string& message) const {
  const auto found = seen_.find(message);
  return found == seen_.end() ? 0 : found->second;
}

microseconds weather::delay(const std::string&, direction) {
  if (calm_) return 1ms;
  switch (chance_.below(50)) {
    case 0:
      return milliseconds{chance_.below(40'000)};  // past the asker's patience
    case 1:
    case 2:
      return milliseconds{chance_.below(3'000)};
    default:
      return microseconds{1 + chance_.below(60'000)};
  }
}

microseconds weather::blocked(const std::string& node, direction way) {
  const auto found = blocked_until_.find(node);
  if (found == blocked_until_.end()) return {};
  return std::max(0us, found->second[static_cast<std::size_t>(way)] - world_->now());
}

bool weather::comes_again(const std::string& message) {
  return !calm_ && chance_.below(message == "offer" ? 4 : 12) == 0;
}
milliseconds weather::again_after() {
  return milliseconds{chance_.below(chance_.below(4) == 0 ? 1'200'000 : 2'000)};
}

milliseconds weather::stalls(const std::string& device) {
  const auto one_in = [&](std::uint64_t n) { return chance_.below(n) == 0; };
  const auto up_to = [&](std::uint64_t ms) { return milliseconds{chance_.below(ms)}; };
  if (device.ends_with(" training")) {  // the work itself
    if (one_in(20)) return up_to(9'000'000);
    if (one_in(5)) return up_to(1'200'000);
    return one_in(2) ? up_to(60'000) : 0ms;
  }
  if (calm_) return 0ms;
  if (device == "ledger") return one_in(60) ? up_to(one_in(8) ? 40'000 : 300) : 0ms;
  return one_in(8) ? up_to(one_in(8) ? 40'000 : 500) : 0ms;
}

bool weather::ledger_is_full() {
  if (calm_ || !world_) return false;
  if (chance_.below(80) == 0) full_until_ = world_->now() + milliseconds{chance_.below(20'000)};
  if (world_->now() > full_until_) return false;
  ++seen_["refused by the ledger"];
  note("the ledger's queue is full");
  return true;
}

void weather::left(const std::string& node, const std::string& message) {
  ++seen_[message];
  note(node + " " + message);
}

void weather::moved(
    const ledger::asked_edge& asked, const base::result<ledger::job>& before,
    const base::result<ledger::job>& after) {
  note(fmt::format(
      "ledger: {} under {}: {}", asked.id, asked.fence.value_or(0),
      after ? ledger::name(after->state) : base::name(after.error().code)));
  auditor_->moved(asked, before, after);
}

void weather::acknowledged(const std::string& node, const actors::job_ref& job) {
  auditor_->acknowledged(node, job);
}

void weather::said_ended(const std::string& node, const actors::job_ref& job) {
  note(fmt::format("{} says that {}/{} has ended", node, job.id, job.fence));
  auditor_->said_ended(node, job);
}

}  // namespace dlls::tests

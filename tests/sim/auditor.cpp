#include "tests/sim/auditor.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <boost/json.hpp>

#include "actors/wire_json.hpp"
#include "base/file.hpp"

namespace dlls::tests {
using ledger::job_state;

namespace {

std::string text_of(const actors::job_ref& job) { return fmt::format("{}/{}", job.id, job.fence); }

}  // namespace

void auditor::moved(
    const ledger::asked_edge& asked, const base::result<ledger::job>& before,
    const base::result<ledger::job>& after) {
  if (asked.written && asked.fence) written_.push_back(*asked.written);
  if (!before || !after) return;
  const auto what = fmt::format(
      "job {}, {} -> {}", asked.id, ledger::name(before->state), ledger::name(after->state));
  if (asked.fence && *asked.fence != before->fence)
    breach(fmt::format("{}: written under fence {} of {}", what, *asked.fence, before->fence));
  if (asked.node && *asked.node != before->node)
    breach(fmt::format("{}: the word of {}, granted to {}", what, *asked.node, before->node));
  if (after->fence != before->fence + asked.grants)
    breach(fmt::format("{}: fence {} after {}", what, after->fence, before->fence));
  auto& known = jobs_[asked.id];
  if (after->fence < known.fence)
    breach(fmt::format("{}: the fence went back from {}", what, known.fence));
  known = *after;
  if (ledger::is_final(before->state)) breach(what + ": it had ended");
  if (after->state == job_state::fetched && ++fetched_[asked.id] > 1) breach(what + ": twice");
}

// The entry's state on the disk, now; empty when it is not held under that fence.
std::string auditor::stored_state(const std::string& node, const actors::job_ref& job) const {
  const auto text = base::read_file(folder_ / node / "spool" / job.id / "job.json", 8u << 20);
  if (!text) return {};
  const auto value = actors::parse_json(*text);
  if (!value || value->at("fence").to_number<std::uint64_t>() != job.fence) return {};
  return std::string{value->at("state").as_string().c_str()};
}

void auditor::acknowledged(const std::string& node, const actors::job_ref& job) {
  if (stored_state(node, job).empty())
    breach(fmt::format("{} acknowledged {}, which is not on its disk", node, text_of(job)));
  auto& newest = acknowledged_[node + "/" + job.id];
  if (const auto known = jobs_.find(job.id); known != jobs_.end() && job.fence < newest) {
    const auto& now = known->second;
    const bool works = now.state == job_state::running || now.state == job_state::ready;
    if (works && now.node == node && now.fence == newest)
      breach(fmt::format("{} acknowledged {} while it holds fence {}", node, job.id, newest));
  }
  newest = std::max(newest, job.fence);
}

void auditor::said_ended(const std::string& node, const actors::job_ref& job) {
  const auto state = stored_state(node, job);
  if (state != "sealed" && state != "failed")
    breach(fmt::format("{} says {} has ended; on its disk it is '{}'", node, text_of(job), state));
}

std::vector<ledger::edge> auditor::outdated_edges() const {
  std::vector<ledger::edge> outdated;
  for (const auto& one : written_)
    if (const auto now = jobs_.find(one.id); now != jobs_.end() && *one.fence < now->second.fence)
      outdated.push_back(one);
  return outdated;
}

}  // namespace dlls::tests

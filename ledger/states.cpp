#include "ledger/states.hpp"

#include <algorithm>

namespace dlls::ledger {

namespace {
constexpr std::array<std::string_view, job_state_count> names{
    "submitted", "queued", "offered",   "running", "ready",       "fetched",
    "released",  "failed", "cancelled", "expired", "lost_contact"};
}  // namespace

std::string_view name(job_state state) noexcept {
  const auto at = static_cast<std::size_t>(state);
  return at < names.size() ? names[at] : "unknown";
}

std::optional<job_state> parse_job_state(std::string_view name) noexcept {
  const auto at = std::ranges::find(names, name);
  if (at == names.end()) return std::nullopt;
  return static_cast<job_state>(at - names.begin());
}

}  // namespace dlls::ledger

#include "actors/coordinator_state.hpp"

#include <algorithm>

namespace dlls::actors {
using ledger::job_state;

namespace {

bool serves(const node_view& node, const std::string& model) {
  return std::ranges::find(node.models, model, &served_model::name) != node.models.end();
}

bool takes(const node_view& node, const std::string& kind) {
  return std::ranges::find(node.kinds, kind) != node.kinds.end();
}

}  // namespace

void coordinator_state::arrive(
    const std::string& name, std::uint64_t epoch, const hello& said, std::int64_t now_ms) {
  auto& node = nodes_[name];
  node.name = name;
  node.connected = true;
  node.epoch = epoch;
  node.since_ms = now_ms;
  node.software = said.software;
  node.kinds = said.kinds;
  node.models = said.models;
}

bool coordinator_state::depart(const std::string& name, std::uint64_t epoch, std::int64_t now_ms) {
  const auto found = nodes_.find(name);
  if (found == nodes_.end() || !found->second.connected || found->second.epoch != epoch)
    return false;
  found->second.connected = false;
  found->second.since_ms = now_ms;
  return true;
}

void coordinator_state::set_models(const std::string& name, std::vector<served_model> models) {
  auto& node = nodes_[name];
  node.name = name;
  node.models = std::move(models);
}

const node_view* coordinator_state::choose(
    const std::string& kind, const std::string& model, const std::set<std::string>& except) const {
  const node_view* best = nullptr;
  for (const auto& [name, node] : nodes_) {
    if (except.contains(name)) continue;
    if (!node.connected || !takes(node, kind) || node.leased.size() >= leases_per_node) continue;
    if (!model.empty() && !serves(node, model)) continue;
    if (!best || node.leased.size() < best->leased.size()) best = &node;
  }
  return best;
}

const node_view* coordinator_state::serving(const std::string& model) const {
  for (const auto& [name, node] : nodes_)
    if (node.connected && serves(node, model)) return &node;
  return nullptr;
}

bool coordinator_state::known(const std::string& model) const {
  return std::ranges::any_of(nodes_, [&](const auto& item) { return serves(item.second, model); });
}

void coordinator_state::lease(const std::string& node, const std::string& job) {
  end_lease(job);
  nodes_[node].leased.insert(job);
}

void coordinator_state::end_lease(const std::string& job) {
  for (auto& [name, node] : nodes_) node.leased.erase(job);
}

const node_view* coordinator_state::find(const std::string& name) const {
  const auto found = nodes_.find(name);
  return found == nodes_.end() ? nullptr : &found->second;
}

reconciliation reconcile(std::span<const ledger::job> assigned, std::span<const held_job> held) {
  reconciliation plan;
  for (const auto& job : assigned) {
    const bool is_held =
        std::ranges::any_of(held, [&](const held_job& one) { return one.job == ref_of(job); });
    if (job.state == job_state::fetched) continue;
    if (job.state == job_state::ready)
      (is_held ? plan.pick_up : plan.lost).push_back(job);
    else
      (is_held ? plan.resume : plan.regrant).push_back(job);
  }
  for (const auto& one : held) {
    const bool wanted = std::ranges::any_of(
        assigned, [&](const ledger::job& job) { return ref_of(job) == one.job; });
    if (!wanted) plan.drop.push_back(one.job);
  }
  return plan;
}

}  // namespace dlls::actors

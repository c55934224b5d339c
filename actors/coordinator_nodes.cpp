// Nodes come and go: what each side holds is compared, the ledger decides.
#include <fmt/core.h>

#include <algorithm>
#include <boost/json.hpp>

#include "actors/coordinator.hpp"
#include "actors/wire_json.hpp"
#include "base/log.hpp"
#include "runtime/ask.hpp"
#include "runtime/sleep.hpp"

namespace dlls::actors {
using base::errc;
using base::error;
using base::failure;
using ledger::job_state;

namespace {

constexpr ledger::state_set assigned_states{
    job_state::offered, job_state::running, job_state::lost_contact, job_state::ready,
    job_state::fetched};
constexpr const char* models_setting = "node_models";

}  // namespace

runtime::task<welcome> coordinator::greet(arrival who) {
  if (who.said.protocol != base::limits::protocol_version)
    throw failure(error{
        errc::version_mismatch,
        fmt::format(
            "the node speaks protocol {}, this coordinator {}", who.said.protocol,
            base::limits::protocol_version),
        "install the same release on both sides"});
  // The word of the link's end may overtake the hello, which goes through the door.
  if (const auto gone = departed_.find(who.node);
      gone != departed_.end() && gone->second >= who.epoch)
    throw failure(error{errc::unavailable, "this link has ended already"});
  const auto now_ms = services_.clock->wall().count();
  state_.arrive(who.node, who.epoch, who.said, now_ms);
  connected_[who.node] = {who.epoch, who.at, who.door, who.account};
  base::log_info(
      "coordinator", "node {} is linked, with {} model(s) and {} job(s)", who.node,
      who.said.models.size(), who.said.held.size());
  auto jobs = co_await all_jobs(assigned_states, who.node);
  if (!jobs) {  // without the list every job that the node holds would look unwanted
    departure gone;
    gone.node = who.node, gone.epoch = who.epoch, gone.why = "the ledger did not answer";
    see_off(gone);
    throw failure(error{errc::unavailable, "the coordinator cannot read its ledger now"});
  }
  auto plan = reconcile(*jobs, who.said.held);
  // A grant that is on its way right now is not lost: its own coroutine sees to it.
  std::erase_if(plan.regrant, [&](const auto& job) { return busy_.contains(job.id); });
  welcome answer;
  answer.epoch = who.epoch;
  answer.drop = plan.drop;
  tasks().spawn(settle(who.node, std::move(plan)));
  tasks().spawn(remember_models());
  co_return answer;
}

runtime::task<> coordinator::settle(std::string node, reconciliation plan) {
  for (auto& job : plan.resume) co_await resume(job, node);
  for (auto& job : plan.lost) {
    auto step =
        failing(job, job_state::ready, "result_lost", "the node no longer holds the result");
    step.fence = job.fence;
    auto moved = co_await advance_surely(step);
    if (moved) ended(*moved);
  }
  for (auto& job : plan.pick_up) tasks().spawn(pick_up(job.id, node));
  for (auto& job : plan.regrant) {
    state_.end_lease(job.id);
    if (job.state == job_state::lost_contact) {
      if (find_connected(node)) tasks().spawn(run(job, node));
      continue;
    }
    ledger::edge step{job.id, job_state::offered, job_state::queued};
    if (job.state == job_state::running) {
      // Running there, as far as we knew, and unknown there: pause, then grant anew.
      auto paused = co_await pause_one(job, "the node does not hold it");
      if (paused && find_connected(node)) tasks().spawn(run(*paused, node));
      continue;
    }
    step.fence = job.fence;
    co_await advance_surely(step);
  }
  begin_dispatch(wake{});
}

// The node holds it under our fence: it runs there, or has already ended there and says so itself.
runtime::task<> coordinator::resume(ledger::job job, std::string node) {
  if (job.state == job_state::lost_contact) {
    auto back = co_await resume_one(job, node);
    if (!back) co_return;
    paused_at_.erase(job.id);
    job = *back;
  }
  if (job.state == job_state::offered && !busy_.contains(job.id)) {
    ledger::edge step{job.id, job_state::offered, job_state::running};
    step.fence = job.fence;
    step.node = node;
    auto moved = co_await advance_surely(step);
    if (!moved) co_return;
    job = *moved;
  }
  state_.lease(node, job.id);
  tasks().spawn(ask_when_late(job.id, job.fence));
  watch_again(job);
}

runtime::task<base::result<ledger::job>> coordinator::resume_one(
    ledger::job job, std::string node) {
  for (;;) {
    auto back = co_await ledger_.resume(job, node);
    if (back || !may_pass(back.error())) co_return back;
    co_await runtime::sleep(this, services_.timing.ledger_again);
  }
}

void coordinator::see_off(departure who) {
  auto& last = departed_[who.node];
  last = std::max(last, who.epoch);
  const auto* gone = find_connected(who.node);
  if (!gone || gone->epoch != who.epoch) return;
  connected_.erase(who.node);
  state_.depart(who.node, who.epoch, services_.clock->wall().count());
  base::log_warning("coordinator", "node {} is gone: {}", who.node, who.why);
  tasks().spawn(pause_jobs(who.node, "the link was lost"));
  tasks().spawn(await_return(who.node));
}

runtime::task<> coordinator::pause_jobs(std::string node, std::string why) {
  while (!find_connected(node)) {
    auto paused = co_await ledger_.pause(node, why);
    if (paused) {
      for (const auto& job : *paused) {
        state_.end_lease(job.id);
        paused_at_[job.id] = services_.clock->steady();
      }
      tasks().spawn(await_return(node));  // it may have ended while this was tried again
      break;
    }
    base::log_error("coordinator", "jobs of {} not paused: {}", node, paused.error().text());
    co_await runtime::sleep(this, services_.timing.ledger_again);
  }
}

// The lease holds for a grace period. After it, another node that can do the job gets it, under a
// higher fence; without another one the job waits for its holder. A holder that is linked is asked.
runtime::task<> coordinator::await_return(std::string node) {
  if (const auto running = awaited_.find(node); running != awaited_.end()) {
    running->second = true;
    co_return;
  }
  awaited_[node] = false;
  auto wait = services_.timing.grace;
  for (;;) {
    co_await runtime::sleep(this, wait);
    wait = services_.timing.grace;
    awaited_[node] = false;
    auto jobs = co_await all_jobs(job_state::lost_contact, node);
    if (!jobs) continue;
    if (jobs->empty() && !awaited_[node]) break;
    for (const auto& job : *jobs) {
      const auto now = services_.clock->steady();
      const auto since = paused_at_.try_emplace(job.id, now).first->second;
      if (const auto left = since + services_.timing.grace - now; left.count() > 0) {
        wait = std::min(wait, left);
        continue;
      }
      if (busy_.contains(job.id)) continue;
      if (find_connected(node)) {
        tasks().spawn(recheck(job.id, node));
        continue;
      }
      const auto* other = state_.choose(job.kind, job.model_in, full_nodes());
      if (!other) continue;
      base::log_warning("coordinator", "job {} is granted anew: {} stays away", job.id, node);
      tasks().spawn(run(job, other->name));
    }
  }
  awaited_.erase(node);
}

// A job in lost_contact whose holder is linked: it missed a deadline, or its link was replaced
// while an offer was on the way. No hello will settle it, so the node is asked.
runtime::task<> coordinator::recheck(std::string id, std::string node) {
  auto job = co_await ledger_.find_job(id);
  auto* at = find_connected(node);
  if (!job || !at || job->state != job_state::lost_contact || job->node != node) co_return;
  auto answer =
      co_await runtime::try_ask(this, at->at, services_.timing.status, status{ref_of(*job)});
  if (busy_.contains(id)) co_return;
  if (answer) {
    co_await resume(*job, node);
  } else if (answer.error().code == errc::not_found) {
    co_await run(*job, node);
  } else {
    auto except = full_nodes();
    except.insert(node);
    if (const auto* other = state_.choose(job->kind, job->model_in, except))
      co_await run(*job, other->name);
  }
}

std::set<std::string> coordinator::full_nodes() const {
  std::set<std::string> full;
  const auto now_ms = services_.clock->wall().count();
  for (const auto& [node, until_ms] : full_until_ms_)
    if (until_ms > now_ms) full.insert(node);
  return full;
}

// After a start: whoever held a lease is not linked now. What a node can do is remembered.
runtime::task<> coordinator::recover() {
  auto remembered = co_await ledger_.get_setting(models_setting);
  if (remembered && *remembered) {
    if (auto value = parse_json(**remembered); value && value->is_object()) {
      for (const auto& [node, names] : value->get_object()) {
        std::vector<served_model> models;
        if (names.is_array() && !find_connected(node)) {
          for (const auto& name : names.get_array())
            if (name.is_string()) models.emplace_back(std::string{name.get_string()}, 0, 0, 0);
          state_.set_models(node, std::move(models));
        }
      }
    }
  }
  std::set<std::string> holders;
  auto leased = co_await all_jobs(granted_states);
  while (!leased) {
    co_await runtime::sleep(this, std::chrono::seconds{5});
    leased = co_await all_jobs(granted_states);
  }
  for (const auto& job : *leased) {
    holders.insert(job.node);
    // The grace period of a pause before this start begins anew: no clock tells how long it was.
    if (job.state == job_state::lost_contact) paused_at_[job.id] = services_.clock->steady();
  }
  for (const auto& node : holders) {
    if (find_connected(node)) continue;
    tasks().spawn(pause_jobs(node, "the coordinator was restarted"));
    tasks().spawn(await_return(node));
  }
  begin_dispatch(wake{});
}

void coordinator::change_models(from_node<models_changed> news) {
  state_.set_models(news.node, std::move(news.message.models));
  tasks().spawn(remember_models());
  begin_dispatch(wake{});
}

runtime::task<> coordinator::remember_models() {
  boost::json::object all;
  for (const auto& [name, node] : state_.nodes()) {
    boost::json::array names;
    for (const auto& model : node.models) names.emplace_back(model.name);
    all[name] = std::move(names);
  }
  auto done = co_await ledger_.set_setting(models_setting, boost::json::serialize(all));
  if (!done) base::log_warning("coordinator", "models not remembered: {}", done.error().text());
}

node_list coordinator::list(ask_nodes) {
  node_list all;
  for (const auto& [name, node] : state_.nodes()) all.nodes.push_back(node);
  for (const auto& [name, node] : connected_)
    if (node.account) all.readings[name] = node.account();
  return all;
}

}  // namespace dlls::actors

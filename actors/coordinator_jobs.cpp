// A job's way from the client's request to the node's "received", and the owner's cancel and
// release.
#include <fmt/core.h>

#include <algorithm>
#include <boost/json.hpp>
#include <optional>

#include "actors/coordinator.hpp"
#include "actors/dataset_check.hpp"
#include "actors/wire_json.hpp"
#include "base/encoding.hpp"
#include "base/log.hpp"
#include "runtime/ask.hpp"
#include "runtime/sleep.hpp"

namespace dlls::actors {
using base::errc;
using base::error;
using base::failure;
using base::result;
using ledger::job_state;

namespace {

// Inputs read at the same time. One thread reads them; more would only fill its queue.
constexpr std::size_t validations_max = 4;

constexpr ledger::state_set waiting_states{job_state::submitted, job_state::queued};
constexpr ledger::state_set cancellable_states{job_state::submitted,    job_state::queued,
                                               job_state::offered,      job_state::running,
                                               job_state::lost_contact, job_state::ready};

// How long an artifact must have been left alone before a sweep may remove it.
constexpr auto sweep_rest = std::chrono::hours{1};

// What an edge says to whoever reads the job's events.
ledger::new_event line(
    std::string_view text, ledger::event_level level = ledger::event_level::info) {
  return ledger::new_event{base::clip_utf8(text, ledger::limits::text_bytes_max), level};
}

// Somebody else moved the job on: nothing is left to do here. Other errors may pass.
bool is_settled(const error& why) {
  return why.code == errc::failed_precondition || why.code == errc::not_found ||
         why.code == errc::stale || why.code == errc::permission_denied;
}

std::chrono::milliseconds next_deadline(const coordinator_timing& timing, double seconds_left) {
  if (!(seconds_left >= 0)) return timing.deadline;  // unknown, or no number
  const std::chrono::duration<double> estimate{seconds_left};
  // Bounded before the conversion: what a node says may pass any integer.
  if (3 * estimate >= timing.deadline_most) return timing.deadline_most;
  return std::max(
      timing.deadline_least, std::chrono::duration_cast<std::chrono::milliseconds>(3 * estimate));
}

// Why a job cannot begin: the code for the API, and what is wrong with which file.
struct objection {
  std::string_view code;
  std::string message;
};

std::optional<objection> check_inputs(const ledger::job& job, const ledger::artifact_store& store) {
  auto inputs = inputs_of(job.spec_json);
  if (!inputs) return objection{"invalid_input", inputs.error().message};
  for (std::size_t i = 0; i < inputs->size(); ++i) {
    auto path = store.path_of((*inputs)[i].sha256);
    if (!path) return objection{"input_lost", path.error().message};
    auto good = job.kind == "fine_tune"  ? check_chat_jsonl(*path)
                : job.kind == "pretrain" ? check_text(*path)
                                         : result<>{};
    if (good) continue;
    const bool validation = job.kind == "fine_tune" && i == 1;
    return objection{
        validation ? "invalid_validation_file" : "invalid_training_file",
        fmt::format(
            "the {} file: {}", validation ? "validation" : "training", good.error().message)};
  }
  return std::nullopt;
}

}  // namespace

void coordinator::begin_dispatch(wake) {
  if (dispatching_) {
    dispatch_again_ = true;
    return;
  }
  dispatching_ = true;
  tasks().spawn(dispatch());
}

runtime::task<> coordinator::dispatch() {
  do {
    dispatch_again_ = false;
    auto jobs = co_await all_jobs(waiting_states);
    if (!jobs) tasks().spawn(dispatch_later(services_.timing.ledger_again));
    for (const auto& job : jobs ? *jobs : std::vector<ledger::job>{}) {
      if (busy_.contains(job.id)) continue;
      if (job.state == job_state::submitted) {
        if (validating_.size() < validations_max) tasks().spawn(validate(job.id));
        continue;
      }
      const auto* node = state_.choose(job.kind, job.model_in, full_nodes());
      if (!node) continue;
      tasks().spawn(run(job, node->name));
      state_.lease(node->name, job.id);
    }
  } while (dispatch_again_);
  dispatching_ = false;
}

runtime::task<> coordinator::dispatch_later(std::chrono::milliseconds pause) {
  co_await runtime::sleep(this, pause);
  begin_dispatch(wake{});
}

// submitted -> queued, or failed with the line that is wrong.
runtime::task<> coordinator::validate(std::string id) {
  claim mine{busy_, id};
  claim reading{validating_, id};
  if (!mine || !reading) co_return;
  auto job = co_await ledger_.find_job(id);
  if (job && job->state == job_state::submitted) {
    auto check = [job = *job, store = services_.artifacts] { return check_inputs(job, *store); };
    const auto wrong = co_await runtime::offload(this, *services_.disk, check);
    ledger::edge step{id, job_state::submitted, job_state::queued};
    if (wrong)
      step = failing(*job, job_state::submitted, wrong->code, wrong->message);
    else
      step.event = line("files validated, waiting for a node");
    auto moved = co_await advance(step);
    // Otherwise the owner has cancelled meanwhile, or it is tried again.
    if (!moved && !is_settled(moved.error()))
      co_await runtime::sleep(this, services_.timing.ledger_again);
  }
  reading.give_up();
  mine.give_up();
  begin_dispatch(wake{});
}

// Grant, offer, "received". Whatever goes wrong with the link is paused by see_off and settled by
// greet.
runtime::task<> coordinator::run(ledger::job job, std::string node) {
  claim mine{busy_, job.id};
  if (!mine) co_return;
  state_.lease(node, job.id);
  auto granted = co_await ledger_.grant(job, node);
  if (!granted) {
    state_.end_lease(job.id);
    if (!is_settled(granted.error())) tasks().spawn(dispatch_later(services_.timing.ledger_again));
    co_return;
  }
  paused_at_.erase(job.id);
  auto inputs = inputs_of(granted->spec_json);
  auto* at = find_connected(node);
  if (!inputs || !at) {
    state_.end_lease(job.id);
    if (!inputs) co_await refused(*granted, node, inputs.error());
    if (inputs)
      co_await pause_one(*granted, "the link was lost");  // the grant came too late for it
    mine.give_up();
    // A hello in between left it to this coroutine.
    if (find_connected(node)) tasks().spawn(recheck(job.id, node));
    tasks().spawn(await_return(node));
    co_return;
  }
  const auto account = at->account;
  const auto epoch = at->epoch;
  const auto before = reading_of(account);
  const auto begun = services_.clock->steady();
  offer message;
  message.job = ref_of(*granted);
  message.kind = granted->kind;
  message.spec_json = granted->spec_json;
  message.inputs = *inputs;
  auto answer = co_await runtime::try_ask(this, at->at, services_.timing.offer, std::move(message));
  if (answer) {
    ledger::edge step{job.id, job_state::offered, job_state::running};
    step.fence = granted->fence;
    step.node = node;
    step.event = line(fmt::format("received by node {}", node));
    auto moved = co_await advance_surely(step);
    if (moved) {
      const auto after = reading_of(account);
      const std::chrono::duration<double> took = services_.clock->steady() - begun;
      // Out: the request with its inputs. In: the acknowledgement, and the asks for the inputs.
      link_reading out = before, in = before;
      out.bytes_out = after.bytes_out, out.packets_out = after.packets_out;
      in.bytes_in = after.bytes_in, in.packets_in = after.packets_in;
      count_phase(job.id, "request", before, out, took.count());
      count_phase(job.id, "acknowledgement", before, in, 0);
      received_at_[job.id] = {epoch, after};
      tasks().spawn(ask_when_late(moved->id, moved->fence));
      watch_again(*moved);
    }
  } else {
    co_await refused(*granted, node, answer.error());
  }
  mine.give_up();
  if (const auto* now = find_connected(node); !answer && now) {
    // Linked, and yet the job may be in lost_contact: see recheck.
    if (now->epoch != epoch) tasks().spawn(recheck(job.id, node));
    tasks().spawn(await_return(node));
  }
  begin_dispatch(wake{});
}

// The offer was not acknowledged. A node that cannot take it now is left alone for a while; one
// that says the job is wrong ends it; silence is lost contact.
runtime::task<> coordinator::refused(ledger::job job, std::string node, error why) {
  base::log_warning("coordinator", "job {} not received by {}: {}", job.id, node, why.text());
  switch (why.code) {
    case errc::unavailable:
    case errc::deadline_exceeded: {
      // On a lost link see_off has paused it already; then this is refused, which is as good.
      co_await pause_one(std::move(job), why.message);
      break;
    }
    case errc::storage_full:
    case errc::resource_exhausted: {
      full_until_ms_[node] = services_.clock->wall().count() + services_.timing.full_pause.count();
      ledger::edge step{job.id, job_state::offered, job_state::queued};
      step.fence = job.fence;
      step.event = line(
          fmt::format("node {} has no room: {}", node, why.message), ledger::event_level::warn);
      co_await advance_surely(step);
      state_.end_lease(job.id);
      tasks().spawn(dispatch_later(services_.timing.full_pause));  // other nodes get it meanwhile
      break;
    }
    default: {
      auto step = failing(job, job_state::offered, base::name(why.code), why.message);
      step.fence = job.fence;
      auto moved = co_await advance_surely(step);
      if (moved) ended(*moved);
    }
  }
}

// One job to lost_contact.
runtime::task<result<ledger::job>> coordinator::pause_one(ledger::job job, std::string why) {
  const auto reason = base::clip_utf8(why, ledger::limits::text_bytes_max);
  for (;;) {
    auto paused = co_await ledger_.pause_job(job, reason);
    state_.end_lease(job.id);
    if (paused) paused_at_[job.id] = services_.clock->steady();
    if (paused || !may_pass(paused.error())) co_return paused;
    co_await runtime::sleep(this, services_.timing.ledger_again);
  }
}

// A hung process still answers keepalives. So a job that has been silent past its deadline is asked
// once; no answer is lost contact, an answer buys it time: three times what the node expects to
// need.
runtime::task<> coordinator::ask_when_late(std::string id, std::uint64_t fence) {
  const claim mine{timed_, fmt::format("{}/{}", id, fence)};
  if (!mine) co_return;
  auto deadline = services_.timing.deadline;
  for (;;) {
    co_await runtime::sleep(this, deadline);
    auto now = co_await ledger_.find_job(id);
    if (!now && now.error().code != errc::not_found) continue;  // the ledger is busy: later
    if (!now || now->state != job_state::running || now->fence != fence) break;
    auto* at = find_connected(now->node);
    if (!at) break;  // see_off has paused it
    auto answer =
        co_await runtime::try_ask(this, at->at, services_.timing.status, status{ref_of(*now)});
    if (answer) {
      deadline = next_deadline(services_.timing, answer->seconds_left);
      continue;
    }
    base::log_warning("coordinator", "job {}: {}", id, answer.error().text());
    auto paused = co_await pause_one(*now, "its deadline passed and the node did not answer");
    if (paused) tasks().spawn(await_return(paused->node));
    break;
  }
}

runtime::task<ledger::job> coordinator::cancel_one(cancel_job order) {
  auto job = co_await ledger_.find_job(order.id, order.owner);
  if (!job) throw failure(job.error());
  if (ledger::is_final(job->state) || job->state == job_state::fetched)
    throw failure(error{
        errc::failed_precondition,
        fmt::format("job {} has ended: it is {}", job->id, ledger::name(job->state))});
  ledger::edge step{job->id, cancellable_states, job_state::cancelled};
  step.event = line("cancelled by its owner");
  step.outbox = webhook_for(*job, "cancelled", services_.clock->wall().count());
  auto moved = co_await advance(step);
  if (!moved) throw failure(moved.error());
  // The ledger has spoken, and the owner need not wait for the node.
  tasks().spawn(tell_node<cancel>(*moved));
  ended(*moved);
  co_return *moved;
}

runtime::task<ledger::job> coordinator::release_one(release_job order) {
  ledger::owner_scope owner;  // anybody's, for the coordinator itself
  if (!order.owner.empty()) owner = order.owner;
  auto job = co_await ledger_.find_job(order.id, owner);
  if (!job) throw failure(job.error());
  if (job->state == job_state::released) co_return *job;
  ledger::edge step{job->id, job_state::fetched, job_state::released};
  step.event = line("released");
  auto moved = co_await advance(step);
  if (!moved) throw failure(moved.error());
  tasks().spawn(tell_node<release>(*moved));
  co_return *moved;
}

// A node that does not hear it now is told when it says hello.
template <class Order>
runtime::task<> coordinator::tell_node(ledger::job job) {
  auto* at = find_connected(job.node);
  if (!at) co_return;
  Order order{ref_of(job)};
  auto told = co_await runtime::try_ask(this, at->at, services_.timing.answer, std::move(order));
  if (!told)
    base::log_warning(
        "coordinator", "node {} did not hear that job {} is {}: {}", job.node, job.id,
        ledger::name(job.state), told.error().text());
}

// At the start and every hour: what nobody needs any more goes.
runtime::task<> coordinator::keep_house() {
  for (;;) {
    try {
      const auto now_ms = services_.clock->wall().count();
      const auto before = now_ms - services_.timing.retention.count();
      co_await expire_old(now_ms - services_.timing.waiting.count());
      co_await release_old(before);
      auto forgotten = co_await ledger_.forget(before, ledger::limits::page_items_max);
      if (!forgotten) throw failure(forgotten.error());
      co_await sweep_artifacts();
    } catch (const failure& f) {  // a full queue or disk: the next hour tries again
      base::log_warning("coordinator", "keeping house: {}", f.what());
    }
    co_await runtime::sleep(this, std::chrono::hours{1});
  }
}

runtime::task<> coordinator::expire_old(std::int64_t before_ms) {
  const auto waiting = co_await all_jobs(waiting_states);
  if (!waiting) throw failure(waiting.error());
  for (const auto& job : *waiting) {
    if (job.created_ms > before_ms) break;  // oldest first
    auto step = failing(job, waiting_states, "expired", "no node took the job in time");
    step.to = job_state::expired;
    auto moved = co_await advance(step);  // refused when a node has taken it meanwhile
    if (moved) ended(*moved);
  }
}

runtime::task<> coordinator::release_old(std::int64_t before_ms) {
  const auto fetched = co_await all_jobs(job_state::fetched);
  if (!fetched) throw failure(fetched.error());
  for (const auto& job : *fetched) {
    if (job.finished_ms.value_or(job.updated_ms) > before_ms) continue;
    try {
      release_job order;
      order.id = job.id;
      co_await release_one(std::move(order));
    } catch (const failure& f) {
      base::log_warning("coordinator", "release of {}: {}", job.id, f.what());
    }
  }
}

// Bytes that the ledger does not name: deleted and expired files, results of forgotten jobs,
// transfers that came to nothing. An upload is sealed before its row is written, so what was
// touched within the last hour is left alone, also when it was touched after the ledger was asked.
runtime::task<> coordinator::sweep_artifacts() {
  auto list = [store = services_.artifacts] { return store->names(sweep_rest); };
  auto held = co_await runtime::offload(this, *services_.disk, list);
  if (!held || held->empty()) co_return;
  auto unused = co_await ledger_.unused_blobs(std::move(*held));
  if (!unused || unused->empty()) co_return;
  auto remove = [store = services_.artifacts, names = std::move(*unused)] {
    auto still = store->names(sweep_rest);
    std::size_t gone = 0;
    if (!still) return gone;
    for (const auto& name : names)
      if (std::ranges::binary_search(*still, name) && store->remove(name)) ++gone;
    return gone;
  };
  const auto gone = co_await runtime::offload(this, *services_.disk, remove);
  if (gone > 0) base::log_info("coordinator", "{} unused artifacts were removed", gone);
}

}  // namespace dlls::actors

// A node's own work: jobs one after the other, in the order of their acknowledgement.
#include <algorithm>

#include "actors/node.hpp"
#include "base/log.hpp"
#include "runtime/ask.hpp"
#include "runtime/sleep.hpp"

namespace dlls::actors {
using base::errc;
using base::result;
using namespace std::chrono_literals;

namespace {

// A run has no deadline of its own: the coordinator's deadline asks `status`, its owner cancels.
constexpr auto no_deadline = std::chrono::hours{24 * 365};
// How often a job that the disk refused is tried again.
constexpr std::chrono::seconds disk_retry{60};

}  // namespace

void node::wake_worker() {
  if (auto waiting = std::exchange(wake_, std::nullopt)) (*waiting)(true);
}

runtime::task<> node::work_off() {
  for (;;) {
    if (auto next = next_job(); !next.empty()) {
      co_await work_on(std::move(next));
      continue;
    }
    auto keep = [this](runtime::resolver<bool> wake) { wake_ = std::move(wake); };
    co_await runtime::completion<bool>(this, keep);
  }
}

// Of the jobs that wait, the one acknowledged first; empty: none waits.
std::string node::next_job() const {
  auto first = jobs_.end();
  for (auto job = jobs_.begin(); job != jobs_.end(); ++job) {
    const auto& held = job->second;
    if (held.entry.state != held_state::accepted || held.working) continue;
    if (first == jobs_.end() || held.entry.place < first->second.entry.place) first = job;
  }
  return first == jobs_.end() ? std::string{} : first->first;
}

runtime::task<> node::work_on(std::string id) {
  auto& begun = jobs_.at(id);
  begun.working = true;
  const auto order = begun.entry.order;
  auto make_folder = [jobs = services_.jobs, job = order.job] { return jobs->work_folder(job); };
  auto folder = co_await runtime::offload(this, *services_.disk, make_folder);
  if (!find(order.job)) co_return;  // the trainer could not be told to abandon it
  work_order work;
  work.job = order.job;
  work.kind = order.kind;
  work.spec_json = order.spec_json;
  result<manifest> outcome = base::error{errc::internal, "no outcome"};
  if (!folder) {
    outcome = folder.error();
  } else {
    work.folder = *folder;
    for (const auto& input : order.inputs) {
      auto path = services_.artifacts->path_of(input.sha256);
      work.inputs.push_back({input.name, path ? *path : std::filesystem::path{}});
    }
    outcome = co_await runtime::try_ask(this, trainer_, no_deadline, std::move(work));
  }
  auto* job = find(order.job);
  if (!job) {  // cancelled or granted anew meanwhile
    if (outcome) co_await discard(order.job, *outcome);
    co_return;
  }
  if (!outcome && outcome.error().code == errc::storage_full) {
    base::log_warning("node", "job {} waits for space: {}", id, outcome.error().text());
    tasks().spawn(retry_later(order.job, disk_retry));
    co_return;
  }
  auto entry = job->entry;
  entry.state = outcome ? held_state::sealed : held_state::failed;
  if (outcome)
    entry.result = std::move(*outcome);
  else
    entry.why = outcome.error();
  job->entry.result = entry.result;  // from here on drop() spares what it names
  // Two jobs may make the same file, and the other may have been dropped since the run sealed it.
  auto store = [jobs = services_.jobs, artifacts = services_.artifacts, entry]() -> result<> {
    for (const auto& one : entry.result.artifacts)
      if (one.name != model_artifact && !artifacts->contains(one.sha256))
        return base::error{errc::not_found, "a file of the result went with another job"};
    return jobs->store(entry);
  };
  auto stored = co_await runtime::offload(this, *services_.disk, store);
  job = find(order.job);
  if (!job) {
    co_await discard(order.job, entry.result);
    co_return;
  }
  if (!stored) {  // not sealed on the disk: not ready. Try the whole again; the run resumes
    base::log_error("node", "job {} cannot be sealed: {}", id, stored.error().text());
    const auto pause = stored.error().code == errc::not_found ? 0s : disk_retry;
    tasks().spawn(retry_later(order.job, pause));
    co_return;
  }
  job->entry = std::move(entry);
  job->working = false;
  base::log_info(
      "node", "job {} is {}", id,
      job->entry.state == held_state::sealed ? "ready" : "failed: " + job->entry.why.text());
  job->silence = silence_of(*job);  // the next words are said because of the result
  const bool new_model = job->entry.state == held_state::sealed && !job->entry.result.model.empty();
  if (new_model) co_await tell_models();
  if (find(order.job)) deliver_soon(id);
}

// The job stays `working`, so that the worker leaves it alone and goes on with the next.
runtime::task<> node::retry_later(job_ref job, std::chrono::seconds pause) {
  co_await runtime::sleep(this, pause);
  if (auto* waiting = find(job)) waiting->working = false;
  wake_worker();
}

void node::note_progress(progress step) {
  auto* job = find(step.job);
  if (!job) return;
  job->last = step;
  if (job->watched && session_) send(session_->door, std::move(step));
}

// Forgets a job: the running work stops at its next step, the entry goes, and inputs and small
// results that no other job names are removed. A model in the store stays.
runtime::task<> node::drop(std::string id) {
  const auto found = jobs_.find(id);
  if (found == jobs_.end()) co_return;
  const auto entry = found->second.entry;
  if (found->second.working) {
    abandon order;
    order.job = entry.order.job;
    send(trainer_, order);
  }
  jobs_.erase(found);
  const auto used = used_artifacts();
  std::vector<std::string> unused;
  for (const auto* artifacts : {&entry.order.inputs, &entry.result.artifacts})
    for (const auto& one : *artifacts)
      if (!used.contains(one.sha256)) unused.push_back(one.sha256);
  auto remove = [id, unused, jobs = services_.jobs, store = services_.artifacts]() -> result<> {
    auto gone = jobs->remove(id);
    for (const auto& sha256 : unused) (void)store->remove(sha256);
    return gone;
  };
  auto removed = co_await runtime::offload(this, *services_.disk, remove);
  if (!removed) base::log_warning("node", "spool entry {}: {}", id, removed.error().text());
  if (jobs_.empty()) co_await sweep();
}

// Takes back a result that nobody wants any more: nothing else would ever name its model.
runtime::task<> node::discard(job_ref job, manifest outcome) {
  bool named = outcome.model.empty();
  for (const auto& [id, held] : jobs_) named |= held.entry.result.model == outcome.model;
  const auto used = used_artifacts();
  std::erase_if(outcome.artifacts, [&](const auto& one) {
    return one.name == model_artifact || used.contains(one.sha256);
  });
  auto remove = [named, outcome, id = job.id, models = services_.models,
                 store = services_.artifacts]() -> result<> {
    for (const auto& one : outcome.artifacts) (void)store->remove(one.sha256);
    return named ? result<>{} : models->remove(outcome.model, id);
  };
  auto removed = co_await runtime::offload(this, *services_.disk, remove);
  if (!removed)
    base::log_warning("node", "the model of job {}: {}", job.id, removed.error().text());
  if (!named) co_await tell_models();  // a hello may have listed it
}

std::set<std::string> node::used_artifacts() const {
  std::set<std::string> used;
  auto add = [&](const std::vector<artifact_ref>& artifacts) {
    for (const auto& one : artifacts) used.insert(one.sha256);
  };
  for (const auto& [id, job] : jobs_) {
    add(job.entry.order.inputs);
    add(job.entry.result.artifacts);
  }
  for (const auto& [id, order] : taking_) add(order.inputs);
  return used;
}

// Removes what no job names: inputs, whole or half, of offers that came to nothing. Only while no
// run can be sealing its result: at the start, and when no job is held.
runtime::task<> node::sweep() {
  auto work = [store = services_.artifacts, used = used_artifacts()] {
    auto all = store->names(0s);
    if (!all) return;
    for (const auto& one : *all)
      if (!used.contains(one)) (void)store->remove(one);
  };
  co_await runtime::offload(this, *services_.disk, work);
}

}  // namespace dlls::actors

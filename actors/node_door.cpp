// What the coordinator may ask of a node. Every answer that promises something follows the disk.
#include <fmt/core.h>

#include <algorithm>

#include "actors/node.hpp"
#include "base/log.hpp"
#include "runtime/ask.hpp"

namespace dlls::actors {
using base::errc;
using base::error;
using base::failure;
using base::result;

namespace {

[[noreturn]] void refuse(errc code, std::string why) { throw failure(error{code, std::move(why)}); }

}  // namespace

// The acknowledgement: inputs first, then the entry, then the answer.
runtime::task<received> node::take(offer order) {
  const auto job = order.job;
  if (!is_safe_id(job.id)) refuse(errc::invalid_argument, "a job id that is no file name");
  const auto known = jobs_.find(job.id);
  if (known != jobs_.end()) {
    const auto held_fence = known->second.entry.order.job.fence;
    if (held_fence > job.fence) refuse(errc::stale, "a newer grant of this job is held");
    received again;
    again.job = job;
    if (held_fence == job.fence) co_return again;
    co_await drop(job.id);
  }
  for (const auto& input : order.inputs) {
    const ask_chunk ask = [this, job, sha256 = input.sha256](
                              std::uint64_t offset, std::uint32_t bytes_max) {
      return ask_input(job, sha256, offset, bytes_max);
    };
    auto fetched = co_await fetch_artifact(this, services_.artifacts, services_.disk, input, ask);
    if (!fetched) throw failure(fetched.error());
  }
  spool_entry entry;
  entry.order = std::move(order);
  auto store = [jobs = services_.jobs, entry] { return jobs->store(entry); };
  auto stored = co_await runtime::offload(this, *services_.disk, store);
  if (!stored) throw failure(stored.error());
  jobs_[job.id].entry = std::move(entry);
  base::log_info("node", "received job {} (attempt {})", job.id, job.attempt);
  wake_worker();
  tasks().spawn(begin_silence(job));
  received done;
  done.job = job;
  co_return done;
}

runtime::task<chunk> node::give(pull request) {
  auto* job = find(request.job);
  if (!job || job->entry.state != held_state::sealed)
    refuse(errc::not_found, fmt::format("no sealed result of job {} is held", request.job.id));
  const auto& artifacts = job->entry.result.artifacts;
  const auto listed = std::ranges::find(artifacts, request.sha256, &artifact_ref::sha256);
  if (listed == artifacts.end()) refuse(errc::not_found, "the result has no such artifact");
  const bool is_model = listed->name == model_artifact;
  auto work = [request, is_model, name = job->entry.result.model, models = services_.models,
               store = services_.artifacts]() -> result<chunk> {
    if (is_model) {
      auto stored = models->find(name);
      if (!stored) return stored.error();
      return read_file_chunk(stored->path, request.offset, request.bytes_max);
    }
    auto blob = store->open_blob(request.sha256);
    if (!blob) return blob.error();
    return read_chunk(*blob, request.offset, request.bytes_max);
  };
  auto read = co_await runtime::offload(this, *services_.disk, work);
  if (!read) throw failure(read.error());
  co_return std::move(*read);
}

runtime::task<released> node::let_go(release order) {
  if (find(order.job)) co_await drop(order.job.id);
  released done;
  done.job = order.job;
  co_return done;
}

runtime::task<cancelled> node::stop(cancel order) {
  if (find(order.job)) co_await drop(order.job.id);
  cancelled done;
  done.job = order.job;
  co_return done;
}

job_status node::tell(status question) {
  auto* job = find(question.job);
  if (!job) refuse(errc::not_found, fmt::format("job {} is not held", question.job.id));
  job_status now;
  now.held = {question.job, job->entry.state};
  const auto& last = job->last;
  now.fraction_done =
      last.steps_total ? static_cast<double>(last.step) / static_cast<double>(last.steps_total) : 0;
  return now;
}

void node::set_watch(watch order) {
  const auto found = jobs_.find(order.job.id);
  if (found == jobs_.end()) return;
  auto& job = found->second;
  job.watched = order.on;
  if (order.on && session_ && job.last.steps_total) send(session_->door, job.last);
}

runtime::task<generated> node::answer(generate request) {
  // The coordinator's deadline ends the ask; this one only bounds what a lost coordinator leaves
  // behind.
  co_return co_await runtime::ask(this, inference_, std::chrono::hours{1}, std::move(request));
}

void node::stop_answer(stop_generation which) { send(inference_, which); }

}  // namespace dlls::actors

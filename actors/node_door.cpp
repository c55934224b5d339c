// What the coordinator may ask of a node. Every answer that promises something follows the disk.
#include <fmt/core.h>

#include <algorithm>

#include "actors/node.hpp"
#include "base/log.hpp"
#include "runtime/ask.hpp"
#include "runtime/subscribe.hpp"

namespace dlls::actors {
using base::errc;
using base::error;
using base::failure;
using base::result;

namespace {

// Between two pieces of an answer: the queue and the prompt are in it. Whoever asked has his own
// limit, and his link's end ends the generation; this one bounds what both have missed.
constexpr auto silence_most = std::chrono::hours{1};

[[noreturn]] void refuse(errc code, std::string why) { throw failure(error{code, std::move(why)}); }

// An offer's place in node::taking_, given up however its coroutine ends.
class pending_take {
 public:
  pending_take(std::map<std::string, offer>& all, job_ref job) : all_(all), job_(std::move(job)) {}
  ~pending_take() {
    if (stands()) all_.erase(job_.id);
  }
  pending_take(const pending_take&) = delete;
  pending_take& operator=(const pending_take&) = delete;
  bool stands() const {
    const auto found = all_.find(job_.id);
    return found != all_.end() && found->second.job == job_;
  }

 private:
  std::map<std::string, offer>& all_;
  job_ref job_;
};

}  // namespace

// The acknowledgement: inputs first, then the entry, then the answer. Meanwhile the offer stands in
// taking_, so that its inputs are not removed with another job's, and a cancel or a newer grant
// ends it.
runtime::task<received> node::take(offer order) {
  const auto job = order.job;
  if (!is_safe_id(job.id)) refuse(errc::invalid_argument, "a job id that is no file name");
  const auto pending = taking_.find(job.id);
  if (pending != taking_.end() && pending->second.job.fence >= job.fence)
    refuse(errc::stale, "this grant of the job, or a newer one, is being taken");
  received done;
  done.job = job;
  const auto known = jobs_.find(job.id);
  if (known != jobs_.end()) {
    const auto held_fence = known->second.entry.order.job.fence;
    if (held_fence > job.fence) refuse(errc::stale, "a newer grant of this job is held");
    if (held_fence == job.fence) co_return done;
  }
  taking_[job.id] = order;
  const pending_take mark{taking_, job};
  if (known != jobs_.end()) co_await drop(job.id);
  auto fetched = co_await fetch_inputs(order);
  if (!fetched) throw failure(fetched.error());
  if (!mark.stands()) refuse(errc::cancelled, "the job was cancelled or granted anew");
  spool_entry entry;
  entry.order = std::move(order);
  entry.place = next_place_++;
  auto store = [jobs = services_.jobs, entry] { return jobs->store(entry); };
  auto stored = co_await runtime::offload(this, *services_.disk, store);
  if (!stored) throw failure(stored.error());
  if (!mark.stands()) {
    // A newer grant stores its own entry after this one; without one, nobody wants what was stored.
    if (!taking_.contains(job.id) && !jobs_.contains(job.id)) {
      auto remove = [jobs = services_.jobs, id = job.id] { return jobs->remove(id); };
      co_await runtime::offload(this, *services_.disk, remove);
    }
    refuse(errc::cancelled, "the job was cancelled or granted anew");
  }
  held fresh;
  fresh.entry = std::move(entry);
  jobs_[job.id] = std::move(fresh);
  base::log_info("node", "received job {} (attempt {})", job.id, job.attempt);
  wake_worker();
  tasks().spawn(begin_silence(job));
  co_return done;
}

runtime::task<result<>> node::fetch_inputs(offer order) {
  for (const auto& input : order.inputs) {
    const open_chunks open = [this, job = order.job, sha256 = input.sha256](std::uint64_t offset) {
      return open_input(job, sha256, offset);
    };
    auto fetched = co_await fetch_artifact(this, services_.artifacts, services_.disk, input, open);
    if (!fetched) co_return fetched.error();
  }
  co_return result<>{};
}

runtime::stream<chunk> node::give(pull request) {
  auto* job = find(request.job);
  if (!job || job->entry.state != held_state::sealed)
    refuse(errc::not_found, fmt::format("no sealed result of job {} is held", request.job.id));
  const auto& artifacts = job->entry.result.artifacts;
  const auto listed = std::ranges::find(artifacts, request.sha256, &artifact_ref::sha256);
  if (listed == artifacts.end()) refuse(errc::not_found, "the result has no such artifact");
  const auto what = *listed;
  const auto model = job->entry.result.model;
  for (auto offset = request.offset; offset < what.bytes;) {
    auto work = [what, model, offset, models = services_.models,
                 store = services_.artifacts]() -> result<chunk> {
      if (what.name != model_artifact) return read_chunk(*store, what.sha256, offset);
      auto stored = models->find(model);
      if (!stored) return stored.error();
      return read_file_chunk(stored->path, offset);
    };
    auto read = co_await runtime::offload(this, *services_.disk, work);
    if (!read) throw failure(read.error());
    offset += read->bytes.size();
    co_yield std::move(*read);
  }
}

runtime::task<released> node::let_go(release order) {
  if (find(order.job)) co_await drop(order.job.id);
  released done;
  done.job = order.job;
  co_return done;
}

runtime::task<cancelled> node::stop(cancel order) {
  const auto pending = taking_.find(order.job.id);
  if (pending != taking_.end() && pending->second.job == order.job) taking_.erase(pending);
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
  now.seconds_left = job->last.seconds_left;
  return now;
}

void node::set_watch(watch order) {
  const auto found = jobs_.find(order.job.id);
  if (found == jobs_.end()) return;
  auto& job = found->second;
  job.watched = order.on;
  if (order.on && session_ && job.last.steps_total) send(session_->door, job.last);
}

runtime::stream<piece> node::answer(generate request) {
  auto pieces = runtime::subscribe(this, inference_, silence_most, std::move(request));
  while (auto next = co_await pieces.next()) co_yield std::move(*next);
}

runtime::stream<embedded> node::embed_texts(embed request) {
  auto vectors = runtime::subscribe(this, inference_, silence_most, std::move(request));
  while (auto next = co_await vectors.next()) co_yield std::move(*next);
}

}  // namespace dlls::actors

// Jobs: a request becomes a row of the ledger, and the coordinator is told that there is one.
#include <fmt/core.h>

#include <algorithm>
#include <boost/json.hpp>
#include <charconv>

#include "actors/cloud_backend.hpp"
#include "actors/cloud_records.hpp"
#include "actors/job_kinds.hpp"
#include "actors/wire_json.hpp"
#include "base/random.hpp"

namespace dlls::actors {
namespace json = boost::json;
using base::errc;
using base::error;
using base::result;
using namespace std::chrono_literals;

namespace {

constexpr auto local_answer = 60s;
// A result's weights come from a home line: hours, for gigabytes. The transfer is resumable.
constexpr auto bring_most = std::chrono::hours{12};

}  // namespace

// What create_job gathers, callback by callback.
struct cloud_backend::pending_job {
  gateway::caller who;
  gateway::job_request request;
  gateway::reply<gateway::job_info> done;
  std::vector<artifact_ref> inputs;

  // Without its id and its specification, which is the request and what the server adds to it.
  ledger::new_job row() const {
    ledger::new_job job;
    job.owner = who.owner;
    job.kind = request.kind;
    job.canonical_body = gateway::to_spec_json(request);
    job.idempotency_key = request.idempotency_key;
    job.model_in = request.model;
    return job;
  }
};

void cloud_backend::create_job(
    gateway::caller who, gateway::job_request request, gateway::reply<gateway::job_info> done) {
  if (auto good = check_job_request(request); !good) return done(good.error());
  auto pending = std::make_shared<pending_job>(
      pending_job{std::move(who), std::move(request), std::move(done), {}});
  if (pending->request.idempotency_key.empty()) return add_inputs(std::move(pending), 0);
  find_earlier(std::move(pending));
}

// A retry whose first answer was lost gets its job, also when the file or the model is gone by now.
void cloud_backend::find_earlier(std::shared_ptr<pending_job> pending) {
  services_.jobs->find_submitted(
      pending->row(), [self = shared_from_this(), pending](result<ledger::job> found) {
        if (found) return pending->done(to_gateway(*found));
        if (found.error().code != errc::not_found) return pending->done(found.error());
        self->add_inputs(pending, 0);
      });
}

void cloud_backend::add_inputs(std::shared_ptr<pending_job> pending, std::size_t next) {
  if (next == pending->request.files.size()) return check_model(std::move(pending));
  services_.jobs->find_file(
      pending->who.owner, pending->request.files[next],
      [self = shared_from_this(), pending, next](result<ledger::file> found) {
        if (!found)
          return pending->done(error{
              errc::not_found, fmt::format("no file '{}'", pending->request.files[next]),
              "upload it with POST /v1/files"});
        pending->inputs.emplace_back(found->filename, found->sha256, found->bytes);
        self->add_inputs(pending, next + 1);
      });
}

void cloud_backend::check_model(std::shared_ptr<pending_job> pending) {
  if (pending->request.model.empty()) return submit(std::move(pending));
  find_model(
      pending->who, pending->request.model,
      [self = shared_from_this(), pending](result<gateway::model_info> found) {
        if (!found) return pending->done(found.error());
        self->submit(pending);
      });
}

void cloud_backend::submit(std::shared_ptr<pending_job> pending) {
  auto job = pending->row();
  job.id = base::random_id(job.kind == "fine_tune" ? "ftjob-" : "job-");
  for (const auto& one : pending->inputs) job.inputs.push_back(one.sha256);
  // The client's request, and what the server knows of its inputs.
  auto spec = parse_json(job.canonical_body);
  if (!spec || !spec->is_object()) return pending->done(error{errc::internal, "specification"});
  spec->as_object()["inputs"] = to_json(pending->inputs);
  job.spec_json = json::serialize(*spec);
  services_.jobs->submit(
      job, [pending, coordinator = services_.coordinator](result<ledger::submission> submitted) {
        if (!submitted) return pending->done(submitted.error());
        if (!submitted->existed) caf::anon_send(coordinator, wake{});
        pending->done(to_gateway(submitted->job));
      });
}

void cloud_backend::find_job(
    gateway::caller who, std::string id, gateway::reply<gateway::job_info> done) {
  services_.jobs->find_job(who.owner, id, in_terms_of<ledger::job>(std::move(done)));
}

void cloud_backend::list_jobs(
    gateway::caller who, std::string kind, gateway::page_request which,
    gateway::reply<gateway::page<gateway::job_info>> done) {
  ledger::job_filter filter;
  filter.owner = who.owner;
  if (!kind.empty()) filter.kinds.push_back(std::move(kind));
  filter.after = which.after;
  filter.limit = std::min(which.limit, ledger::limits::page_items_max);
  if (which.ascending) filter.order = ledger::order::oldest_first;
  services_.jobs->list_jobs(filter, page_in_terms_of<ledger::job>(std::move(done)));
}

void cloud_backend::job_events(
    gateway::caller who, std::string id, gateway::page_request which,
    gateway::reply<gateway::page<gateway::job_event>> done) {
  std::int64_t after = 0;
  if (!which.after.empty()) {
    const auto digits = std::string_view{which.after}.substr(which.after.rfind('-') + 1);
    const auto [end, failed] = std::from_chars(digits.data(), digits.data() + digits.size(), after);
    if (failed != std::errc{} || end != digits.data() + digits.size())
      return done(error{errc::invalid_argument, "'after' is no event id"});
  }
  services_.jobs->events(
      who.owner, id, after, std::min(which.limit, ledger::limits::page_items_max),
      which.ascending ? ledger::order::oldest_first : ledger::order::newest_first,
      page_in_terms_of<ledger::event>(std::move(done)));
}

void cloud_backend::cancel_job(
    gateway::caller who, std::string id, gateway::reply<gateway::job_info> done) {
  dlls::actors::cancel_job order;
  order.owner = who.owner;
  order.id = std::move(id);
  services_.actors->ask(
      services_.coordinator, local_answer, std::move(order),
      in_terms_of<ledger::job>(std::move(done)));
}

void cloud_backend::release_job(
    gateway::caller who, std::string id, gateway::reply<gateway::job_info> done) {
  dlls::actors::release_job order;
  order.owner = who.owner;
  order.id = std::move(id);
  services_.actors->ask(
      services_.coordinator, local_answer, std::move(order),
      in_terms_of<ledger::job>(std::move(done)));
}

void cloud_backend::job_result(
    gateway::caller who, std::string id, gateway::reply<std::string> done) {
  services_.jobs->find_job(who.owner, id, [done = std::move(done)](result<ledger::job> found) {
    if (!found) return done(found.error());
    if (!ledger::result_states.contains(found->state))
      return done(error{
          errc::failed_precondition,
          fmt::format("job {} has no result: it is {}", found->id, ledger::name(found->state))});
    done(found->manifest_json);
  });
}

void cloud_backend::open_artifact(
    gateway::caller who, std::string job, std::string sha256,
    gateway::reply<std::shared_ptr<gateway::content>> done) {
  auto self = shared_from_this();
  services_.jobs->find_job(
      who.owner, job, [self, sha256, done = std::move(done)](result<ledger::job> found) {
        if (!found) return done(found.error());
        auto listed = manifest_of(found->manifest_json);
        const artifact_ref* wanted = nullptr;
        if (listed)
          for (const auto& one : listed->artifacts)
            if (one.sha256 == sha256) wanted = &one;
        if (!wanted) return done(error{errc::not_found, "the job's result has no such artifact"});
        if (self->services_.artifacts->contains(sha256)) return self->open_blob(sha256, done);
        if (auto room = self->services_.jobs->room_for_upload(wanted->bytes); !room)
          return done(room.error());
        bring_artifact order;
        order.job = *found;
        order.what = *wanted;
        self->services_.actors->ask(
            self->services_.coordinator, bring_most, std::move(order),
            [self, sha256, done](result<artifact_ref> brought) {
              if (!brought) return done(brought.error());
              self->open_blob(sha256, done);
            });
      });
}

}  // namespace dlls::actors

// /v1/fine_tuning/jobs.
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <limits>

#include "base/limits.hpp"
#include "gateway/detail/errors.hpp"
#include "gateway/detail/job_input.hpp"
#include "gateway/detail/json_output.hpp"
#include "gateway/detail/page_input.hpp"
#include "gateway/detail/replies.hpp"
#include "gateway/detail/routes.hpp"

namespace dlls::gateway::detail::fine_tuning {
namespace json = boost::json;
namespace {

constexpr std::string_view kind = "fine_tune";
constexpr std::uint32_t list_limit_max = 100;

reply<job_info> job_reply(const exchange_ptr& out) {
  return object_reply<job_info>(out, fine_tuning_object);
}

// Runs `then` only for a job of this API: others have their own routes.
template <class F>
void with_job(const request& in, backend& to, const exchange_ptr& out, F then) {
  to.find_job(
      in.who, in.parameters[0], on_home<job_info>(out, [out, then](base::result<job_info> got) {
        if (!got) return out->send(to_response(got.error()));
        if (got->request.kind == kind) return then(*got);
        out->send(to_response(base::error{
            base::errc::not_found, "no fine-tuning job '" + got->id + "'",
            "see /v1/jobs/" + got->id}));
      }));
}

}  // namespace

void create(request in, backend& to, exchange_ptr out) {
  problem wrong;
  auto job = read_fine_tuning(in.body, wrong);
  check_idempotency_key(in, wrong);
  if (wrong) return out->send(to_response(*wrong));
  job.idempotency_key = in.idempotency_key;
  to.create_job(std::move(in.who), std::move(job), job_reply(out));
}

void list(request in, backend& to, exchange_ptr out) {
  problem wrong;
  auto which = read_page(in, 20, list_limit_max, wrong);
  if (wrong) return out->send(to_response(*wrong));
  to.list_jobs(
      std::move(in.who), std::string{kind}, std::move(which),
      page_reply<job_info>(out, fine_tuning_object));
}

void find(request in, backend& to, exchange_ptr out) {
  with_job(in, to, out, [out](const job_info& job) {
    out->send(json_response(fine_tuning_object(job)));
  });
}

void cancel(request in, backend& to, exchange_ptr out) {
  with_job(in, to, out, [out, &to, who = in.who](const job_info& job) {
    to.cancel_job(who, job.id, job_reply(out));
  });
}

void events(request in, backend& to, exchange_ptr out) {
  problem wrong;
  auto which = read_page(in, 20, list_limit_max, wrong);
  if (wrong) return out->send(to_response(*wrong));
  auto done = page_reply<job_event>(out, fine_tuning_event_object);
  with_job(in, to, out, [&to, who = in.who, which, done](const job_info& job) {
    to.job_events(who, job.id, which, done);
  });
}

// The node keeps checkpoints to resume from, not to serve from: the list is empty.
void checkpoints(request in, backend& to, exchange_ptr out) {
  with_job(in, to, out, [out](const job_info&) {
    out->send(list_response(std::vector<job_event>{}, false, fine_tuning_event_object));
  });
}

}  // namespace dlls::gateway::detail::fine_tuning

// /v1/jobs: DLLS's own view of every kind of job, to the states and the artifacts.
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>

#include "base/sha256.hpp"
#include "gateway/detail/errors.hpp"
#include "gateway/detail/job_input.hpp"
#include "gateway/detail/json_output.hpp"
#include "gateway/detail/page_input.hpp"
#include "gateway/detail/replies.hpp"
#include "gateway/detail/routes.hpp"

namespace dlls::gateway::detail::jobs {
namespace json = boost::json;
namespace {

constexpr std::uint32_t list_limit_max = 100;
constexpr std::uint32_t events_limit_max = 1'000;

reply<job_info> job_reply(const exchange_ptr& out) {
  return object_reply<job_info>(out, job_object);
}

// Progress of one job as server-sent events, until it ends or its watcher goes.
class watcher final : public progress_sink {
 public:
  watcher(std::string job, exchange_ptr out) : job_(std::move(job)), out_(std::move(out)) {}
  void progress(job_progress now) override {
    out_->post([out = out_, job = job_, now = std::move(now)] {
      out->event(json::serialize(progress_object(job, now)));
    });
  }
  void done(job_info end) override {
    out_->post([out = out_, end = std::move(end)] {
      out->event(json::serialize(job_object(end)));
      out->event("[DONE]");
      out->end();
    });
  }
  void failed(base::error why) override {
    out_->post([out = out_, why = std::move(why)] {
      out->event(envelope(api_error_of(why)));
      out->end();
    });
  }

 private:
  std::string job_;
  exchange_ptr out_;
};

}  // namespace

void create(request in, backend& to, exchange_ptr out) {
  problem wrong;
  auto job = read_job(in.body, wrong);
  check_idempotency_key(in, wrong);
  if (wrong) return out->send(to_response(*wrong));
  job.idempotency_key = in.idempotency_key;
  to.create_job(std::move(in.who), std::move(job), job_reply(out));
}

void list(request in, backend& to, exchange_ptr out) {
  problem wrong;
  auto which = read_page(in, 20, list_limit_max, wrong);
  if (wrong) return out->send(to_response(*wrong));
  auto kind = query_value(in, "kind");
  to.list_jobs(
      std::move(in.who), std::move(kind), std::move(which), page_reply<job_info>(out, job_object));
}

void find(request in, backend& to, exchange_ptr out) {
  to.find_job(std::move(in.who), in.parameters[0], job_reply(out));
}

void cancel(request in, backend& to, exchange_ptr out) {
  to.cancel_job(std::move(in.who), in.parameters[0], job_reply(out));
}

void release(request in, backend& to, exchange_ptr out) {
  to.release_job(std::move(in.who), in.parameters[0], job_reply(out));
}

void events(request in, backend& to, exchange_ptr out) {
  problem wrong;
  auto which = read_page(in, 20, events_limit_max, wrong);
  if (wrong) return out->send(to_response(*wrong));
  to.job_events(
      std::move(in.who), in.parameters[0], std::move(which),
      page_reply<job_event>(out, fine_tuning_event_object));
}

void result(request in, backend& to, exchange_ptr out) {
  auto done = on_home<std::string>(out, [out](base::result<std::string> got) {
    if (!got) return out->send(to_response(got.error()));
    response whole;
    whole.body = *std::move(got);
    out->send(std::move(whole));
  });
  to.job_result(std::move(in.who), in.parameters[0], std::move(done));
}

void artifact(request in, backend& to, exchange_ptr out) {
  const auto sha256 = in.parameters[1];
  if (!base::is_sha256(sha256))
    return out->send(to_response(
        bad_request("an artifact is named by 64 lower-case hexadecimal digits", "sha256")));
  using body = std::shared_ptr<content>;
  auto done = on_home<body>(out, [out, sha256](base::result<body> got) {
    if (!got) return out->send(to_response(got.error()));
    response head;
    head.content_type = "application/octet-stream";
    head.headers.emplace_back("etag", '"' + sha256 + '"');
    out->send_content(std::move(head), *std::move(got));
  });
  to.open_artifact(std::move(in.who), in.parameters[0], sha256, std::move(done));
}

// First whether there is such a job, so that an unknown one is a plain 404.
void watch(request in, backend& to, exchange_ptr out) {
  const auto id = in.parameters[0];
  auto found = on_home<job_info>(out, [out, id, &to, who = in.who](base::result<job_info> got) {
    if (!got) return out->send(to_response(got.error()));
    out->start_events();
    const auto handle = to.watch_job(who, id, std::make_shared<watcher>(id, out));
    out->when_gone([handle] { handle->cancel(); });
  });
  to.find_job(in.who, id, std::move(found));
}

}  // namespace dlls::gateway::detail::jobs

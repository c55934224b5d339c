// The fake backend's jobs, nodes and webhook.
#include "base/sha256.hpp"
#include "tests/gateway/fake_parts.hpp"

namespace dlls::test {
using namespace gateway;
using base::errc;
using base::error;

base::result<job_info> fake_backend::owned_job(const caller& who, const std::string& id) const {
  const std::lock_guard lock{mutex_};
  for (const auto& j : jobs_)
    if (j.info.id == id && j.owner == who.owner) return j.info;
  return no_such("job", id);
}

void fake_backend::create_job(caller who, job_request request, reply<job_info> done) {
  const auto make = [&]() -> base::result<job_info> {
    const std::lock_guard lock{mutex_};
    job_requests_.push_back(request);
    for (const auto& j : jobs_) {
      const auto& known = j.info.request;
      if (request.idempotency_key.empty() || j.owner != who.owner ||
          known.idempotency_key != request.idempotency_key)
        continue;
      if (to_spec_json(known) == to_spec_json(request)) return j.info;
      return error{errc::already_exists, "this idempotency key belongs to another request"};
    }
    for (const auto& id : request.files)
      if (std::none_of(files_.begin(), files_.end(), [&](const stored_file& f) {
            return f.info.id == id && f.owner == who.owner;
          }))
        return no_such("file", id);
    job_info info;
    const auto number = std::to_string(jobs_.size() + 1);
    info.id = (request.kind == "fine_tune" ? "ftjob-" : "job-") + number;
    info.state = "submitted";
    info.request = request;
    info.created = birth + static_cast<std::int64_t>(jobs_.size());
    jobs_.push_back({who.owner, info});
    return info;
  };
  answer<job_info>(done, make());
}

void fake_backend::find_job(caller who, std::string id, reply<job_info> done) {
  answer<job_info>(done, owned_job(who, id));
}

void fake_backend::list_jobs(
    caller who, std::string kind, page_request which, reply<page<job_info>> done) {
  std::vector<job_info> mine;
  {
    const std::lock_guard lock{mutex_};
    for (const auto& j : jobs_)
      if (j.owner == who.owner && (kind.empty() || kind == j.info.request.kind))
        mine.push_back(j.info);
  }
  answer<page<job_info>>(done, page_of(mine, which, [](const job_info& j) { return j.id; }));
}

void fake_backend::cancel_job(caller who, std::string id, reply<job_info> done) {
  auto job = owned_job(who, id);
  if (job && (job->state == "cancelled" || job->state == "ready"))
    return answer<job_info>(done, error{errc::failed_precondition, "the job has ended"});
  if (job) {
    job->state = "cancelled";
    job->finished = birth + 60;
    set_job(*job);
  }
  answer<job_info>(done, job);
}

void fake_backend::job_events(
    caller who, std::string id, page_request which, reply<page<job_event>> done) {
  const auto job = owned_job(who, id);
  if (!job) return answer<page<job_event>>(done, job.error());
  std::vector<job_event> all;
  for (int i = 1; i <= 3; ++i) {
    job_event e;
    e.id = "ftevent-" + std::to_string(i);
    e.created = birth + i;
    e.type = i == 2 ? "metrics" : "message";
    e.message = "step " + std::to_string(i);
    if (i == 2) e.data_json = R"({"step":2,"train_loss":1.5})";
    all.push_back(e);
  }
  answer<page<job_event>>(done, page_of(all, which, [](const job_event& e) { return e.id; }));
}

void fake_backend::release_job(caller who, std::string id, reply<job_info> done) {
  auto job = owned_job(who, id);
  if (job) {
    job->state = "released";
    set_job(*job);
  }
  answer<job_info>(done, job);
}

void fake_backend::job_result(caller who, std::string id, reply<std::string> done) {
  const auto job = owned_job(who, id);
  if (!job) return answer<std::string>(done, job.error());
  if (job->state != "ready")
    return answer<std::string>(done, error{errc::failed_precondition, "no result yet"});
  answer<std::string>(done, std::string{R"({"artifacts":[]})"});
}

void fake_backend::open_artifact(
    caller who, std::string job, std::string sha256, reply<std::shared_ptr<content>> done) {
  using body = std::shared_ptr<content>;
  const auto found = owned_job(who, job);
  const std::string bytes(200'000, 'a');
  if (!found || sha256 != base::sha256_hex(bytes))
    return answer<body>(done, no_such("artifact", sha256));
  answer<body>(done, base::result<body>{std::make_shared<fake_content>(bytes)});
}

std::shared_ptr<cancel_handle> fake_backend::watch_job(
    caller who, std::string id, std::shared_ptr<progress_sink> sink) {
  const auto job = owned_job(who, id);
  const std::unique_lock lock{mutex_};
  kept_.push_back(sink);
  run([sink, job] {
    job_progress now;
    now.state = "running";
    now.step = 1;
    now.steps = 10;
    now.loss = 2.25;
    sink->progress(now);
    if (job->state == "ready") sink->done(*job);
  });
  return new_handle();
}

void fake_backend::list_nodes(caller, reply<std::vector<node_info>> done) {
  node_info n;
  n.name = "home";
  n.connected = true;
  n.since = birth;
  n.models = {"tiny"};
  answer<std::vector<node_info>>(done, std::vector{n});
}

void fake_backend::traffic(caller, std::string job, reply<std::vector<node_traffic>> done) {
  node_traffic t;
  t.node = "home";
  t.total = {100, 200, 3, 4};
  traffic_phase p;
  p.job = job;
  p.phase = "request";
  p.count.bytes_sent = 100;
  t.phases = {p};
  answer<std::vector<node_traffic>>(done, std::vector{t});
}

void fake_backend::enroll(
    caller, std::string node_name, std::int64_t ttl_s, reply<enrolment> done) {
  answer<enrolment>(done, enrolment{"dlls-join-secret", std::move(node_name), birth + ttl_s});
}

void fake_backend::list_keys(caller, reply<std::vector<key_info>> done) {
  key_info first;
  first.id = "key_1", first.name = "first", first.created = birth;
  answer<std::vector<key_info>>(done, std::vector{first});
}

void fake_backend::add_key(caller, std::string name, reply<new_key> done) {
  new_key made;
  made.info.id = "key_2", made.info.name = std::move(name), made.info.created = birth;
  made.secret = "dlls-secret";
  answer<new_key>(done, made);
}

void fake_backend::revoke_key(caller, std::string id, reply<key_info> done) {
  if (id != "key_1") return answer<key_info>(done, no_such("key", id));
  key_info ended;
  ended.id = id, ended.revoked = birth;
  answer<key_info>(done, ended);
}

void fake_backend::revoke_node(caller, std::string node_name, reply<node_info> done) {
  if (node_name != "home") return answer<node_info>(done, no_such("node", node_name));
  node_info n;
  n.name = node_name;
  answer<node_info>(done, n);
}

void fake_backend::set_webhook(
    caller who, std::string url, bool allow_private, reply<webhook_registration> done) {
  webhook_registration r;
  r.info.url = std::move(url);
  r.info.allow_private = allow_private;
  r.info.created = birth;
  r.secret = "whsec_c2VjcmV0";
  {
    const std::lock_guard lock{mutex_};
    webhooks_[who.owner] = r.info;
  }
  answer<webhook_registration>(done, r);
}

void fake_backend::find_webhook(caller who, reply<webhook_info> done) {
  base::result<webhook_info> found = error{errc::not_found, "no webhook is registered"};
  {
    const std::lock_guard lock{mutex_};
    if (webhooks_.contains(who.owner)) found = webhooks_[who.owner];
  }
  answer<webhook_info>(done, found);
}

void fake_backend::delete_webhook(caller who, reply<webhook_info> done) {
  base::result<webhook_info> found = error{errc::not_found, "no webhook is registered"};
  {
    const std::lock_guard lock{mutex_};
    if (webhooks_.contains(who.owner)) found = webhooks_[who.owner];
    webhooks_.erase(who.owner);
  }
  answer<webhook_info>(done, found);
}

}  // namespace dlls::test

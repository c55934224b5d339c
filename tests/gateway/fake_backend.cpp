#include "tests/gateway/fake_backend.hpp"

#include <algorithm>
#include <sstream>

#include "base/sha256.hpp"

namespace dlls::test {
using namespace gateway;
using base::errc;
using base::error;

namespace {
constexpr std::int64_t birth = 1'750'000'000;
constexpr auto patience = std::chrono::seconds{10};

error no_such(const std::string& what, const std::string& id) {
  return {errc::not_found, "no " + what + " '" + id + "'"};
}

model_info model(const std::string& id) {
  model_info m;
  m.id = id;
  m.created = birth;
  m.context = 2048;
  m.node = "home";
  return m;
}

const std::vector<std::string> model_names{"tiny", "silent", "stuck", "breaking", "busy", "chatty"};

class fake_content final : public content {
 public:
  explicit fake_content(std::string bytes) : bytes_(std::move(bytes)) {}
  std::uint64_t size() const override { return bytes_.size(); }
  void read(std::uint64_t offset, std::size_t bytes_max, gateway::reply<std::string> got) override {
    got(bytes_.substr(offset, bytes_max));
  }

 private:
  std::string bytes_;
};

template <class T, class F>
page<T> page_of(std::vector<T> all, const page_request& which, F id_of) {
  if (!which.ascending) std::reverse(all.begin(), all.end());
  auto from = all.begin();
  if (!which.after.empty()) {
    from =
        std::find_if(all.begin(), all.end(), [&](const T& t) { return id_of(t) == which.after; });
    if (from != all.end()) ++from;
  }
  page<T> out;
  for (; from != all.end() && out.items.size() < which.limit; ++from) out.items.push_back(*from);
  out.has_more = from != all.end();
  return out;
}
}  // namespace

class fake_upload final : public upload {
 public:
  fake_upload(fake_backend& home, std::string owner, std::string name)
      : home_(home), owner_(std::move(owner)), name_(std::move(name)) {}
  ~fake_upload() override {
    if (finished_) return;
    const std::lock_guard lock{home_.mutex_};
    ++home_.aborted_;
    home_.changed_.notify_all();
  }
  base::result<> write(std::span<const std::byte> bytes) override {
    bytes_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    return {};
  }
  void finish(
      std::string purpose, std::optional<std::int64_t> expires_after_s,
      gateway::reply<file_info> done) override {
    finished_ = true;
    const auto id = home_.add_file(owner_, name_, std::move(bytes_));
    const std::unique_lock lock{home_.mutex_};
    auto& info = home_.files_.back().info;
    info.purpose = std::move(purpose);
    if (expires_after_s) info.expires = info.created + *expires_after_s;
    const auto copy = info;
    home_.run([done, copy] { done(copy); });
  }

 private:
  fake_backend& home_;
  std::string owner_, name_, bytes_;
  bool finished_ = false;
};

class fake_handle final : public cancel_handle {
 public:
  explicit fake_handle(fake_backend& home) : home_(home) {}
  void cancel() override {
    const std::lock_guard lock{home_.mutex_};
    ++home_.cancelled_;
    home_.changed_.notify_all();
  }

 private:
  fake_backend& home_;
};

fake_backend::fake_backend(replies how) {
  if (how == replies::inside) return;
  thread_ = std::thread([this] {
    std::unique_lock lock{mutex_};
    for (;;) {
      changed_.wait(lock, [this] { return closing_ || !queue_.empty(); });
      if (queue_.empty()) return;
      auto job = std::move(queue_.front());
      queue_.pop_front();
      lock.unlock();
      job();
      lock.lock();
    }
  });
}

fake_backend::~fake_backend() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock{mutex_};
    closing_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

// With the lock held when threaded; without a thread the reply must not find it held, so callers
// of the `inside` kind only come here through answer().
void fake_backend::run(std::function<void()> job) {
  if (!thread_.joinable()) return job();
  queue_.push_back(std::move(job));
  changed_.notify_all();
}

template <class T>
void fake_backend::answer(const reply<T>& done, base::result<T> with) {
  const std::unique_lock lock{mutex_};
  if (silent_) return;
  if (failure_.code != errc::ok) with = failure_;
  run([done, with] { done(with); });
}

void fake_backend::authenticate(std::string key, reply<caller> done) {
  base::result<caller> who = error{errc::unauthenticated, "incorrect API key"};
  if (key == "sk-alice") who = caller{"alice", "first"};
  if (key == "sk-bob") who = caller{"bob", "second"};
  const std::unique_lock lock{mutex_};
  run([done, who] { done(who); });
}

void fake_backend::health(reply<health_info> done) {
  health_info h;
  h.version = "0.1.0";
  h.nodes_connected = 1;
  h.ledger_ok = true;
  {
    const std::lock_guard lock{mutex_};
    for (const auto& j : jobs_) ++h.jobs_by_state[j.info.state];
  }
  answer<health_info>(done, h);
}

void fake_backend::list_models(caller, reply<std::vector<model_info>> done) {
  std::vector<model_info> all;
  for (const auto& name : model_names) all.push_back(model(name));
  answer<std::vector<model_info>>(done, all);
}

void fake_backend::find_model(caller, std::string id, reply<model_info> done) {
  const bool known = std::find(model_names.begin(), model_names.end(), id) != model_names.end();
  if (known)
    answer<model_info>(done, model(id));
  else
    answer<model_info>(done, no_such("model", id));
}

namespace {
token_delta piece(const std::string& text, const generate_request& r) {
  token_delta d;
  d.text = text;
  if (!r.logprobs) return d;
  token_logprob t;
  t.bytes = text;
  t.logprob = -0.5;
  for (std::uint32_t i = 0; i < r.top_logprobs; ++i)
    t.top.push_back({i == 0 ? text : "alt" + std::to_string(i), -0.5 - i});
  d.logprobs.push_back(t);
  return d;
}

void speak(const generate_request& r, generation_sink& sink) {
  if (r.model == "busy") return sink.failed({errc::resource_exhausted, "the queue is full"});
  if (std::find(model_names.begin(), model_names.end(), r.model) == model_names.end())
    return sink.failed(no_such("model", r.model));
  if (r.model == "stuck") return;
  if (r.model == "silent") return sink.delta(piece("Wait", r));
  if (r.model == "breaking") {
    sink.delta(piece("Half", r));
    return sink.failed({errc::unavailable, "the node went away"});
  }
  if (r.model == "chatty")
    for (int i = 0; i < 2000; ++i) sink.delta(piece(std::string(1000, 'x'), r));
  std::istringstream words{r.chat ? r.messages.back().content : r.prompt};
  std::string word;
  std::uint64_t n = 0;
  const auto most = r.max_tokens.value_or(1'000'000);
  while (n < most && words >> word) sink.delta(piece(n++ ? " " + word : word, r));
  generate_done end;
  end.finish_reason = words >> word ? "length" : "stop";
  end.usage.prompt_tokens = 7;
  end.usage.completion_tokens = n;
  sink.done(end);
}
}  // namespace

std::shared_ptr<generation_handle> fake_backend::generate(
    generate_request request, std::shared_ptr<generation_sink> sink) {
  const std::unique_lock lock{mutex_};
  generations_.push_back(request);
  kept_.push_back(sink);
  changed_.notify_all();
  if (failure_.code != errc::ok) {
    run([sink, why = failure_] { sink->failed(why); });
  } else if (!silent_) {
    run([request, sink] { speak(request, *sink); });
  }
  return std::make_shared<fake_handle>(*this);
}

base::result<std::unique_ptr<upload>> fake_backend::begin_upload(
    caller who, std::string filename, std::uint64_t) {
  const std::lock_guard lock{mutex_};
  if (failure_.code != errc::ok) return failure_;
  return std::unique_ptr<upload>(new fake_upload(*this, who.owner, std::move(filename)));
}

base::result<fake_backend::stored_file> fake_backend::owned_file(
    const caller& who, const std::string& id) const {
  const std::lock_guard lock{mutex_};
  for (const auto& f : files_)
    if (f.info.id == id && f.owner == who.owner) return f;
  return no_such("file", id);
}

void fake_backend::list_files(
    caller who, std::string purpose, page_request which, reply<page<file_info>> done) {
  std::vector<file_info> mine;
  {
    const std::lock_guard lock{mutex_};
    for (const auto& f : files_)
      if (f.owner == who.owner && (purpose.empty() || purpose == f.info.purpose))
        mine.push_back(f.info);
  }
  answer<page<file_info>>(done, page_of(mine, which, [](const file_info& f) { return f.id; }));
}

void fake_backend::find_file(caller who, std::string id, reply<file_info> done) {
  const auto f = owned_file(who, id);
  answer<file_info>(done, f ? base::result<file_info>{f->info} : f.error());
}

void fake_backend::open_file(caller who, std::string id, reply<std::shared_ptr<content>> done) {
  using body = std::shared_ptr<content>;
  const auto f = owned_file(who, id);
  answer<body>(done, f ? base::result<body>{std::make_shared<fake_content>(f->bytes)} : f.error());
}

void fake_backend::delete_file(caller who, std::string id, reply<file_info> done) {
  const auto f = owned_file(who, id);
  if (f) {
    const std::lock_guard lock{mutex_};
    std::erase_if(files_, [&](const stored_file& s) { return s.info.id == id; });
  }
  answer<file_info>(done, f ? base::result<file_info>{f->info} : f.error());
}

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
  return std::make_shared<fake_handle>(*this);
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

void fake_backend::fail_with(error why) {
  const std::lock_guard lock{mutex_};
  failure_ = std::move(why);
}

void fake_backend::fall_silent() {
  const std::lock_guard lock{mutex_};
  silent_ = true;
}

void fake_backend::set_job(const job_info& job) {
  const std::lock_guard lock{mutex_};
  for (auto& j : jobs_)
    if (j.info.id == job.id) j.info = job;
}

std::string fake_backend::add_file(
    const std::string& owner, const std::string& name, std::string bytes) {
  const std::lock_guard lock{mutex_};
  file_info info;
  info.id = "file-" + std::to_string(files_.size() + 1);
  info.filename = name;
  info.purpose = "fine-tune";
  info.bytes = bytes.size();
  info.created = birth;
  files_.push_back({owner, info, std::move(bytes)});
  return info.id;
}

std::string fake_backend::file_bytes(const std::string& id) const {
  const std::lock_guard lock{mutex_};
  for (const auto& f : files_)
    if (f.info.id == id) return f.bytes;
  return "no such file";
}

std::size_t fake_backend::file_count() const {
  const std::lock_guard lock{mutex_};
  return files_.size();
}

std::vector<generate_request> fake_backend::generations() const {
  const std::lock_guard lock{mutex_};
  return generations_;
}

std::vector<job_request> fake_backend::job_requests() const {
  const std::lock_guard lock{mutex_};
  return job_requests_;
}

std::size_t fake_backend::cancelled() const {
  const std::lock_guard lock{mutex_};
  return cancelled_;
}

std::size_t fake_backend::aborted_uploads() const {
  const std::lock_guard lock{mutex_};
  return aborted_;
}

bool fake_backend::wait_cancelled(std::size_t how_many) const {
  std::unique_lock lock{mutex_};
  return changed_.wait_for(lock, patience, [&] { return cancelled_ >= how_many; });
}

bool fake_backend::wait_aborted_uploads(std::size_t how_many) const {
  std::unique_lock lock{mutex_};
  return changed_.wait_for(lock, patience, [&] { return aborted_ >= how_many; });
}

}  // namespace dlls::test

#include "tests/gateway/fake_backend.hpp"

#include <algorithm>
#include <sstream>

#include "tests/gateway/fake_parts.hpp"

namespace dlls::test {
using namespace gateway;
using base::errc;
using base::error;

namespace {
constexpr auto patience = std::chrono::seconds{10};

model_info model(const std::string& id) {
  model_info m;
  m.id = id;
  m.created = birth;
  m.context = 2048;
  m.node = "home";
  return m;
}

const std::vector<std::string> model_names{"tiny", "silent", "stuck",  "breaking",
                                           "busy", "chatty", "calling"};

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

std::shared_ptr<cancel_handle> fake_backend::new_handle() {
  return std::make_shared<fake_handle>(*this);
}

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
  if (r.model == "calling") {
    token_delta calls;
    calls.calls = {{"call_1", "get_weather", R"({"city":"Oslo"})"}, {"call_2", "clock", "{}"}};
    sink.delta(calls);
    return sink.done({"tool_calls", {7, 3, 0}});
  }
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
  return new_handle();
}

std::shared_ptr<cancel_handle> fake_backend::embed(
    embed_request request, reply<embedding_list> done) {
  embedding_list all;
  for (const auto& text : request.texts) {
    all.vectors.push_back({0.6f, 0.8f, static_cast<float>(text.size())});
    if (request.dimensions) all.vectors.back().resize(request.dimensions);
    all.tokens += text.size();
  }
  const bool known =
      std::find(model_names.begin(), model_names.end(), request.model) != model_names.end();
  if (request.model != "stuck") {
    if (known)
      answer<embedding_list>(done, all);
    else
      answer<embedding_list>(done, no_such("model", request.model));
  }
  return new_handle();
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

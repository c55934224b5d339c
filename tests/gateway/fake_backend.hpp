// A backend of plain maps for the tests: what a coordinator would say, without one.
#pragma once
#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "gateway/backend.hpp"

namespace dlls::test {

// Keys: "sk-alice" and "sk-bob". Models: "tiny" (answers with the prompt's words), "silent" (says
// one word and waits to be cancelled), "stuck" (waits without a word), "breaking" (one word, then
// unavailable), "busy" (resource_exhausted), "chatty" (two million bytes). Jobs stay submitted
// until set_job. Replies come inside the call, or from a thread of its own.
class fake_backend final : public gateway::backend {
 public:
  enum class replies { inside, threaded };
  explicit fake_backend(replies how = replies::inside);
  ~fake_backend() override;

  template <class T>
  using reply = gateway::reply<T>;
  using caller = gateway::caller;

  void authenticate(std::string key, reply<caller> done) override;
  void health(reply<gateway::health_info> done) override;
  void list_models(caller who, reply<std::vector<gateway::model_info>> done) override;
  void find_model(caller who, std::string id, reply<gateway::model_info> done) override;
  // Of a text of n bytes (0.6, 0.8, n), or the first of these; "stuck" never answers.
  std::shared_ptr<gateway::cancel_handle> embed(
      gateway::embed_request request, gateway::reply<gateway::embedding_list> done) override;
  std::shared_ptr<gateway::generation_handle> generate(
      gateway::generate_request request, std::shared_ptr<gateway::generation_sink> sink) override;
  base::result<std::unique_ptr<gateway::upload>> begin_upload(
      caller who, std::string filename, std::uint64_t bytes_max) override;
  void list_files(
      caller who, std::string purpose, gateway::page_request which,
      reply<gateway::page<gateway::file_info>> done) override;
  void find_file(caller who, std::string id, reply<gateway::file_info> done) override;
  void open_file(
      caller who, std::string id, reply<std::shared_ptr<gateway::content>> done) override;
  void delete_file(caller who, std::string id, reply<gateway::file_info> done) override;
  void create_job(caller who, gateway::job_request request, reply<gateway::job_info> done) override;
  void find_job(caller who, std::string id, reply<gateway::job_info> done) override;
  void list_jobs(
      caller who, std::string kind, gateway::page_request which,
      reply<gateway::page<gateway::job_info>> done) override;
  void cancel_job(caller who, std::string id, reply<gateway::job_info> done) override;
  void job_events(
      caller who, std::string id, gateway::page_request which,
      reply<gateway::page<gateway::job_event>> done) override;
  void release_job(caller who, std::string id, reply<gateway::job_info> done) override;
  void job_result(caller who, std::string id, reply<std::string> done) override;
  void open_artifact(
      caller who, std::string job, std::string sha256,
      reply<std::shared_ptr<gateway::content>> done) override;
  std::shared_ptr<gateway::cancel_handle> watch_job(
      caller who, std::string id, std::shared_ptr<gateway::progress_sink> sink) override;
  void list_nodes(caller who, reply<std::vector<gateway::node_info>> done) override;
  void traffic(
      caller who, std::string job, reply<std::vector<gateway::node_traffic>> done) override;
  void enroll(caller who, std::string node_name, std::int64_t ttl_s, reply<gateway::enrolment> done)
      override;
  void list_keys(caller who, reply<std::vector<gateway::key_info>> done) override;
  void add_key(caller who, std::string name, reply<gateway::new_key> done) override;
  void revoke_key(caller who, std::string id, reply<gateway::key_info> done) override;
  void revoke_node(caller who, std::string node_name, reply<gateway::node_info> done) override;
  void set_webhook(
      caller who, std::string url, bool allow_private,
      reply<gateway::webhook_registration> done) override;
  void find_webhook(caller who, reply<gateway::webhook_info> done) override;
  void delete_webhook(caller who, reply<gateway::webhook_info> done) override;

  // --- for tests; thread-safe
  // Makes every further reply (but authenticate's) this error; errc::ok ends it.
  void fail_with(base::error why);
  // From now on backend calls are never answered.
  void fall_silent();
  void set_job(const gateway::job_info& job);
  std::string add_file(const std::string& owner, const std::string& name, std::string bytes);
  std::string file_bytes(const std::string& id) const;
  std::size_t file_count() const;
  std::vector<gateway::generate_request> generations() const;
  std::vector<gateway::job_request> job_requests() const;
  std::size_t cancelled() const;
  std::size_t aborted_uploads() const;
  // Blocks until `how_many` generations or watches were cancelled; false after ten seconds.
  bool wait_cancelled(std::size_t how_many) const;
  bool wait_aborted_uploads(std::size_t how_many) const;

 private:
  friend class fake_upload;
  friend class fake_handle;
  struct stored_file {
    std::string owner;
    gateway::file_info info;
    std::string bytes;
  };
  struct stored_job {
    std::string owner;
    gateway::job_info info;
  };

  void run(std::function<void()> job);
  std::shared_ptr<gateway::cancel_handle> new_handle();
  template <class T>
  void answer(const reply<T>& done, base::result<T> with) {
    const std::unique_lock lock{mutex_};
    if (silent_) return;
    if (failure_.code != base::errc::ok) with = failure_;
    run([done, with] { done(with); });
  }
  base::result<gateway::job_info> owned_job(const caller& who, const std::string& id) const;
  base::result<stored_file> owned_file(const caller& who, const std::string& id) const;

  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  base::error failure_{base::errc::ok, ""};
  bool silent_ = false;
  std::vector<stored_file> files_;
  std::vector<stored_job> jobs_;
  std::map<std::string, gateway::webhook_info> webhooks_;
  std::vector<gateway::generate_request> generations_;
  std::vector<gateway::job_request> job_requests_;
  std::vector<std::shared_ptr<void>> kept_;
  std::size_t cancelled_ = 0, aborted_ = 0;

  std::deque<std::function<void()>> queue_;
  bool closing_ = false;
  std::thread thread_;
};

}  // namespace dlls::test

// What the HTTP side sees of the cloud: gateway::backend over the ledger, the artifact store and
// the coordinator. Reads go straight to the ledger; whatever moves a job goes through the
// coordinator.
//
// Threads: called on the HTTP thread, replies from the ledger's, the disk's or an actor's. Holds no
// lock.
#pragma once
#include <atomic>
#include <memory>
#include <string>

#include "actors/coordinator.hpp"
#include "base/random.hpp"
#include "gateway/backend.hpp"
#include "ledger/artifact_store.hpp"
#include "ledger/ledger.hpp"
#include "runtime/outside.hpp"

namespace dlls::actors {

struct backend_services {
  std::shared_ptr<ledger::ledger> jobs;
  std::shared_ptr<ledger::artifact_store> artifacts;
  std::shared_ptr<runtime::worker_pool> disk;
  std::shared_ptr<runtime::outside> actors;
  coordinator_actor coordinator;
  const base::clock* clock = &base::system_clock();
  std::string version;
  // From the link's owner: a fresh join token, and what to do when a node is no longer welcome.
  std::function<std::string(std::string& secret_hash)> make_token;
  std::function<void(const std::string& node)> node_revoked;
};

class cloud_backend final : public gateway::backend,
                            public std::enable_shared_from_this<cloud_backend> {
 public:
  explicit cloud_backend(backend_services services) : services_(std::move(services)) {}

  void authenticate(std::string key, gateway::reply<gateway::caller> done) override;
  void health(gateway::reply<gateway::health_info> done) override;
  void list_models(
      gateway::caller who, gateway::reply<std::vector<gateway::model_info>> done) override;
  void find_model(
      gateway::caller who, std::string id, gateway::reply<gateway::model_info> done) override;
  std::shared_ptr<gateway::generation_handle> generate(
      gateway::generate_request request, std::shared_ptr<gateway::generation_sink> sink) override;

  std::shared_ptr<gateway::cancel_handle> embed(
      gateway::embed_request request, gateway::reply<gateway::embedding_list> done) override;

  base::result<std::unique_ptr<gateway::upload>> begin_upload(
      gateway::caller who, std::string filename, std::uint64_t bytes_max) override;
  void list_files(
      gateway::caller who, std::string purpose, gateway::page_request which,
      gateway::reply<gateway::page<gateway::file_info>> done) override;
  void find_file(
      gateway::caller who, std::string id, gateway::reply<gateway::file_info> done) override;
  void open_file(
      gateway::caller who, std::string id,
      gateway::reply<std::shared_ptr<gateway::content>> done) override;
  void delete_file(
      gateway::caller who, std::string id, gateway::reply<gateway::file_info> done) override;

  void create_job(
      gateway::caller who, gateway::job_request request,
      gateway::reply<gateway::job_info> done) override;
  void find_job(
      gateway::caller who, std::string id, gateway::reply<gateway::job_info> done) override;
  void list_jobs(
      gateway::caller who, std::string kind, gateway::page_request which,
      gateway::reply<gateway::page<gateway::job_info>> done) override;
  void cancel_job(
      gateway::caller who, std::string id, gateway::reply<gateway::job_info> done) override;
  void job_events(
      gateway::caller who, std::string id, gateway::page_request which,
      gateway::reply<gateway::page<gateway::job_event>> done) override;
  void release_job(
      gateway::caller who, std::string id, gateway::reply<gateway::job_info> done) override;
  void job_result(gateway::caller who, std::string id, gateway::reply<std::string> done) override;
  void open_artifact(
      gateway::caller who, std::string job, std::string sha256,
      gateway::reply<std::shared_ptr<gateway::content>> done) override;
  std::shared_ptr<gateway::cancel_handle> watch_job(
      gateway::caller who, std::string id, std::shared_ptr<gateway::progress_sink> sink) override;

  void list_nodes(
      gateway::caller who, gateway::reply<std::vector<gateway::node_info>> done) override;
  void traffic(
      gateway::caller who, std::string job,
      gateway::reply<std::vector<gateway::node_traffic>> done) override;
  void list_keys(gateway::caller who, gateway::reply<std::vector<gateway::key_info>> done) override;
  void add_key(
      gateway::caller who, std::string name, gateway::reply<gateway::new_key> done) override;
  void revoke_key(
      gateway::caller who, std::string id, gateway::reply<gateway::key_info> done) override;
  void enroll(
      gateway::caller who, std::string node_name, std::int64_t ttl_s,
      gateway::reply<gateway::enrolment> done) override;
  void revoke_node(
      gateway::caller who, std::string node_name, gateway::reply<gateway::node_info> done) override;
  void set_webhook(
      gateway::caller who, std::string url, bool allow_private,
      gateway::reply<gateway::webhook_registration> done) override;
  void find_webhook(gateway::caller who, gateway::reply<gateway::webhook_info> done) override;
  void delete_webhook(gateway::caller who, gateway::reply<gateway::webhook_info> done) override;

 private:
  struct pending_job;
  void find_earlier(std::shared_ptr<pending_job> pending);
  void add_inputs(std::shared_ptr<pending_job> pending, std::size_t next);
  void check_model(std::shared_ptr<pending_job> pending);
  void submit(std::shared_ptr<pending_job> pending);
  void open_blob(std::string sha256, gateway::reply<std::shared_ptr<gateway::content>> done);

  backend_services services_;
  // Names generations and watchers. Drawn anew by each process: a node may still be at work on what
  // the one before asked.
  std::atomic<std::uint64_t> next_{base::secure_random_u64()};
};

// Where the outbox finds the endpoint of an owner: a setting of the ledger.
std::string webhook_setting(const std::string& owner);

}  // namespace dlls::actors

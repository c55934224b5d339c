// Everything the HTTP side needs from the rest of the product, as one abstract class. actors/
// implements it over the coordinator; tests implement it over plain maps. The gateway never sees
// an actor, the backend never sees HTTP.
//
// Threads: every member is called on the gateway's HTTP thread and must not block; only
// upload::write may take as long as writing its bytes to a disk. A reply or a sink may be called
// on any thread, also before the call that took it returns; a reply exactly once. The gateway
// posts what it gets back to its own thread.
//
// Owners: each call acts for `caller::owner`; what belongs to somebody else is not_found, never
// permission_denied.
//
// Errors become HTTP by their code: invalid_argument 400, unauthenticated 401, permission_denied
// 403, not_found 404, already_exists and failed_precondition and stale and cancelled 409,
// resource_exhausted 429, storage_full 507, unavailable 503, deadline_exceeded 504, unsupported
// and too_long 400, the rest 500 (the text of an `internal` or `io` error is logged, not sent).
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "gateway/generation.hpp"
#include "gateway/jobs.hpp"

namespace dlls::gateway {

template <class T>
using reply = std::function<void(base::result<T>)>;

// A file on its way in. Destroyed without finish: aborted, nothing remains. Bytes come in order.
class upload {
 public:
  virtual ~upload() = default;
  // storage_full, io. After an error the gateway drops the upload.
  virtual base::result<> write(std::span<const std::byte> bytes) = 0;
  // The content is durable and registered when the reply comes. Called at most once, last; the
  // object is kept alive until the reply.
  virtual void finish(
      std::string purpose, std::optional<std::int64_t> expires_after_s, reply<file_info> done) = 0;
};

// Bytes to be sent to a client, read in pieces. Owned by the HTTP session; dropping it ends it.
class content {
 public:
  virtual ~content() = default;
  virtual std::uint64_t size() const = 0;
  // Exactly min(bytes_max, size - offset) bytes. One read at a time, offsets ascend.
  virtual void read(std::uint64_t offset, std::size_t bytes_max, reply<std::string> got) = 0;
};

// As generation_sink: any number of progress calls, then exactly one of done and failed. `done`
// comes when the job has reached an end or a result (ready and what follows).
class progress_sink {
 public:
  virtual ~progress_sink() = default;
  virtual void progress(job_progress now) = 0;
  virtual void done(job_info end) = 0;
  virtual void failed(base::error why) = 0;
};

class backend {
 public:
  virtual ~backend() = default;

  // `key` exactly as presented after "Bearer "; at most 256 characters. unauthenticated when it
  // is unknown, expired or revoked. Must compare in constant time; must not log it.
  virtual void authenticate(std::string key, reply<caller> done) = 0;
  virtual void health(reply<health_info> done) = 0;

  // --- inference
  virtual void list_models(caller who, reply<std::vector<model_info>> done) = 0;
  virtual void find_model(caller who, std::string id, reply<model_info> done) = 0;
  // Never null; an unknown model is sink->failed(not_found).
  virtual std::shared_ptr<generation_handle> generate(
      generate_request request, std::shared_ptr<generation_sink> sink) = 0;

  // Never null. invalid_argument, about "dimensions", for more than the model has.
  virtual std::shared_ptr<cancel_handle> embed(
      embed_request request, reply<embedding_list> done) = 0;

  // --- files
  // `bytes_max` bounds what will come (the request's length, or the limit). storage_full early.
  virtual base::result<std::unique_ptr<upload>> begin_upload(
      caller who, std::string filename, std::uint64_t bytes_max) = 0;
  virtual void list_files(
      caller who, std::string purpose /* empty: all */, page_request which,
      reply<page<file_info>> done) = 0;
  virtual void find_file(caller who, std::string id, reply<file_info> done) = 0;
  virtual void open_file(caller who, std::string id, reply<std::shared_ptr<content>> done) = 0;
  virtual void delete_file(caller who, std::string id, reply<file_info> done) = 0;

  // --- jobs
  // The reply comes after the commit. The same idempotency key with an equal request gives the
  // same job, with another request already_exists. not_found for an unknown file or model.
  virtual void create_job(caller who, job_request request, reply<job_info> done) = 0;
  virtual void find_job(caller who, std::string id, reply<job_info> done) = 0;
  // `kind` empty: all.
  virtual void list_jobs(
      caller who, std::string kind, page_request which, reply<page<job_info>> done) = 0;
  // failed_precondition when the job has already ended.
  virtual void cancel_job(caller who, std::string id, reply<job_info> done) = 0;
  virtual void job_events(
      caller who, std::string id, page_request which, reply<page<job_event>> done) = 0;
  virtual void release_job(caller who, std::string id, reply<job_info> done) = 0;
  // The manifest as JSON text; failed_precondition before the result is ready.
  virtual void job_result(caller who, std::string id, reply<std::string> done) = 0;
  // `sha256`: 64 lower-case hexadecimal digits, named by the manifest. May have to be pulled from
  // the node first, so the reply and each read may take long; unavailable when the node is away.
  virtual void open_artifact(
      caller who, std::string job, std::string sha256, reply<std::shared_ptr<content>> done) = 0;
  // Never null.
  virtual std::shared_ptr<cancel_handle> watch_job(
      caller who, std::string id, std::shared_ptr<progress_sink> sink) = 0;

  // --- the owner's own
  virtual void list_nodes(caller who, reply<std::vector<node_info>> done) = 0;
  // `job` empty: every phase.
  virtual void traffic(caller who, std::string job, reply<std::vector<node_traffic>> done) = 0;
  virtual void enroll(
      caller who, std::string node_name, std::int64_t ttl_s, reply<enrolment> done) = 0;
  virtual void list_keys(caller who, reply<std::vector<key_info>> done) = 0;
  virtual void add_key(caller who, std::string name, reply<new_key> done) = 0;
  // failed_precondition for the last one that opens.
  virtual void revoke_key(caller who, std::string id, reply<key_info> done) = 0;
  virtual void revoke_node(caller who, std::string node_name, reply<node_info> done) = 0;
  // Replaces the endpoint and its secret. The gateway has checked the URL's form.
  virtual void set_webhook(
      caller who, std::string url, bool allow_private, reply<webhook_registration> done) = 0;
  virtual void find_webhook(caller who, reply<webhook_info> done) = 0;
  virtual void delete_webhook(caller who, reply<webhook_info> done) = 0;
};

}  // namespace dlls::gateway

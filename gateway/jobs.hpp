// Files, jobs, nodes and the link's account: the values that cross between HTTP and the backend.
// Times are Unix seconds. JSON travels as text, already checked to be well formed, so that only the
// gateway needs a JSON library here.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"

namespace dlls::gateway {

struct model_info {
  std::string id;  // the name that requests use: "smollm2-135m", "ft:smollm2-135m:dlls::k3v..."
  std::int64_t created = 0;
  std::string owned_by = "dlls";
  std::uint32_t context = 0;  // tokens
  std::string node;           // where it lives; empty: nowhere connected right now
  std::string kind = "base";  // "base" or "fine_tuned"
};

struct file_info {
  std::string id;  // "file-..." made by the backend, never by a client
  std::string filename;
  std::string purpose;
  std::uint64_t bytes = 0;
  std::string sha256;  // of the content, hexadecimal
  std::int64_t created = 0;
  std::optional<std::int64_t> expires;
  std::string status = "processed";  // "uploaded", "processed", "error"
};

// One page of a list, newest first unless ascending. `after` is the last id of the page before.
struct page_request {
  std::string after;
  std::uint32_t limit = 20;
  bool ascending = false;
};
template <class T>
struct page {
  std::vector<T> items;
  bool has_more = false;
};

// A number, or "auto" (none).
struct hyperparameters {
  std::optional<std::uint32_t> n_epochs;
  std::optional<std::uint32_t> batch_size;
  std::optional<double> learning_rate_multiplier;
  std::optional<double> beta;  // method "dpo" only
};

// POST /v1/fine_tuning/jobs makes kind "fine_tune"; POST /v1/jobs passes its own kind.
struct job_request {
  std::string kind;                // "fine_tune", "pretrain", "checksum", "generate"
  std::string model;               // may be empty for kinds that need none
  std::vector<std::string> files;  // input file ids; fine_tune: training file, then validation file
  std::string suffix;              // at most 64 characters of the new model's name
  std::optional<std::int64_t> seed;  // fine_tune: 0..2^31-1
  std::string method = "supervised";
  hyperparameters hyper;
  std::string metadata_json =
      "{}";                       // an object of strings: at most 16 pairs, 64 and 512 characters
  std::string extra_json = "{}";  // fine_tune: the body's "dlls" object; else: "spec"
  std::string idempotency_key;    // the request's Idempotency-Key; empty: none

  // Of a fine_tune, or empty.
  std::string_view training_file() const { return files.empty() ? "" : std::string_view{files[0]}; }
  std::string_view validation_file() const {
    return files.size() < 2 ? "" : std::string_view{files[1]};
  }
};

// A job's specification as the ledger keeps it and the node reads it: one JSON object with the
// members of job_request under their names (hyperparameters flattened into "hyperparameters",
// metadata and extra as objects); the idempotency key is left out. Equal requests give equal text.
std::string to_spec_json(const job_request& request);
// corrupt for anything that to_spec_json doesn't write. Members that are missing keep defaults.
base::result<job_request> from_spec_json(std::string_view text);

struct job_error {
  std::string code;     // "training_file_invalid", "node_lost", ...
  std::string message;  // a sentence for the owner
  std::string param;    // "training_file" or empty
};

struct job_info {
  std::string id;  // "ftjob-..." for a fine_tune, "job-..." otherwise
  // The ledger's names: submitted queued offered running ready fetched released failed cancelled
  // expired lost_contact.
  std::string state;
  job_request request;
  std::uint32_t attempt = 0;
  std::string node;              // empty: not granted yet
  std::string fine_tuned_model;  // empty until ready
  std::int64_t created = 0;
  std::optional<std::int64_t> started, finished, estimated_finish;
  std::optional<std::uint64_t> trained_tokens;
  std::vector<std::string> result_files;  // file ids
  std::optional<job_error> error;
};

// OpenAI's word for a state of ours: validating_files, queued, running, succeeded, failed,
// cancelled.
std::string_view fine_tuning_status(std::string_view state) noexcept;

struct job_event {
  std::string id;  // "ftevent-..."
  std::int64_t created = 0;
  std::string level = "info";    // "info", "warn", "error"
  std::string type = "message";  // "message", "metrics"
  std::string message;
  std::string data_json;  // an object, or empty
};

// What a watcher sees while a job runs; zeros mean unknown.
struct job_progress {
  std::string state;
  std::uint64_t step = 0, steps = 0;
  double loss = 0;
  double tokens_per_s = 0;
  double remaining_s = 0;
  std::string message;
};

struct node_info {
  std::string name;
  bool connected = false;
  std::int64_t since = 0;  // of the present state
  std::string version;
  std::vector<std::string> models;
  std::uint32_t jobs_running = 0;
};

// Bytes and frames of the link as the transport counted them.
struct traffic_count {
  std::uint64_t bytes_sent = 0, bytes_received = 0;
  std::uint64_t frames_sent = 0, frames_received = 0;
};
struct traffic_phase {
  std::string job;    // empty: not of one job
  std::string phase;  // "request", "acknowledgement", "silence", "ready", "pick-up", ...
  double seconds = 0;
  traffic_count count;
};
struct node_traffic {
  std::string node;
  std::int64_t since = 0;
  traffic_count total;
  std::vector<traffic_phase> phases;
};

struct webhook_info {
  std::string url;
  bool allow_private = false;
  bool enabled = true;  // false after a 410 or when the last retry failed
  std::int64_t created = 0;
};
struct webhook_registration {
  webhook_info info;
  std::string secret;  // "whsec_...": given to the client this once
};

// A node's way in; the token is a secret, shown once.
struct enrolment {
  std::string token;
  std::string name;
  std::int64_t expires = 0;
};

// One API key, as its owner may see it; the key itself is a secret, shown once.
struct key_info {
  std::string id;
  std::string name;
  std::int64_t created = 0;
  std::optional<std::int64_t> revoked;
};
struct new_key {
  key_info info;
  std::string secret;
};

struct health_info {
  std::string version;
  std::uint32_t nodes_connected = 0;
  bool ledger_ok = false;
  std::map<std::string, std::uint64_t> jobs_by_state;
};

}  // namespace dlls::gateway

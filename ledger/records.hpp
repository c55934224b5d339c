// What the ledger stores and what it is asked to store: plain values, owned by whoever holds them.
//
// Times are Unix milliseconds, JSON is opaque text (the caller wrote it, the ledger never parses
// it). Every type has a constructor on purpose: no aggregates, since GCC 12 miscompiles aggregate
// temporaries inside a co_await expression.
#pragma once
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/limits.hpp"
#include "ledger/states.hpp"

namespace dlls::ledger {

// Limits of single fields; beyond them the answer is invalid_argument, before anything is written.
namespace limits {
inline constexpr std::size_t json_bytes_max = base::limits::request_bytes_max;
inline constexpr std::size_t text_bytes_max = 4096;  // a message, a file name, an error's sentence
inline constexpr std::size_t name_bytes_max = 255;   // ids, owners, keys, kinds, node names
inline constexpr std::size_t inputs_max = 64;        // input artifacts of one job
// Progress lines of one job. The edges' own events are never refused.
inline constexpr std::int64_t events_per_job_max = 10'000;
inline constexpr std::uint32_t page_items_max = 1000;
// Jobs that nobody has taken yet, of all owners.
inline constexpr std::uint32_t jobs_waiting_max = 10'000;
// A page ends early, with has_more, when its texts pass this: the coordinator has 32 MiB.
inline constexpr std::size_t page_bytes_max = 2u << 20;
}  // namespace limits

struct job {
  std::string id;
  std::string owner;
  std::string kind;  // "checksum", "fine_tune", "pretrain", "generate"
  job_state state = job_state::submitted;
  std::optional<job_state> paused_from;  // set exactly while state is lost_contact
  std::uint32_t attempt = 0;             // grants so far
  std::uint64_t fence = 0;               // the fencing token; rises with every grant, never else
  std::string node;                      // the holder, empty while there is none
  std::string spec_json;
  std::string idempotency_key;  // empty: none
  std::string model_in;
  std::string model_out;
  std::string manifest_json;  // of the result, from `ready` on
  std::string error_code;     // with failed: what the API shows
  std::string error_message;
  std::int64_t trained_tokens = 0;
  std::optional<std::int64_t> deadline_ms;
  std::int64_t created_ms = 0;
  std::int64_t updated_ms = 0;              // the last edge
  std::optional<std::int64_t> started_ms;   // the latest entry into running, pauses aside
  std::optional<std::int64_t> finished_ms;  // the entry into ready, failed, cancelled or expired

  job() = default;
};

struct new_job {
  std::string id;  // empty: the ledger makes "job-..." ; else the caller's, from base::random_id
  std::string owner;
  std::string kind;
  std::string spec_json;
  std::string idempotency_key;
  // What a repeated key must repeat. Empty: kind and spec_json. Give the client's request in a
  // canonical form when the spec holds things that the server chose.
  std::string canonical_body;
  std::string model_in;
  // SHA-256 (hexadecimal) of input artifacts: kept from being freed until the job has ended.
  std::vector<std::string> inputs;
  std::optional<std::int64_t> deadline_ms;

  new_job() = default;
};

struct submission {
  dlls::ledger::job job;
  bool existed = false;  // the key was known: this is the first submission's job

  submission() = default;
  submission(dlls::ledger::job j, bool e) : job(std::move(j)), existed(e) {}
};

enum class event_level : std::uint8_t { info, warn, error };

struct new_event {
  event_level level = event_level::info;
  std::string type = "message";  // or "metrics"
  std::string message;
  std::string data_json;  // empty: none

  new_event() = default;
  explicit new_event(std::string m, event_level l = event_level::info)
      : level(l), message(std::move(m)) {}
};

struct event {
  std::int64_t id = 0;  // rises over the whole ledger
  std::string job;
  std::int64_t at_ms = 0;
  event_level level = event_level::info;
  std::string type;
  std::string message;
  std::string data_json;

  event() = default;
};

// A webhook to be sent; the sender delivers it at least once, always under the same id.
struct new_outbox_row {
  std::string id;  // empty: the ledger makes "evt_..."
  std::string type;
  std::string payload_json;

  new_outbox_row() = default;
  new_outbox_row(std::string i, std::string t, std::string p)
      : id(std::move(i)), type(std::move(t)), payload_json(std::move(p)) {}
};

struct outbox_row {
  std::string id;
  std::string job;
  std::string owner;
  std::string type;
  std::string payload_json;
  std::int64_t created_ms = 0;
  std::uint32_t attempts = 0;  // claims so far, this one included

  outbox_row() = default;
};

// One step of a job, and what is written in the same transaction. Empty fields leave what stands.
struct edge {
  std::string id;
  state_set
      from;  // the states that the caller believes possible; each must have a legal edge to `to`
  job_state to = job_state::queued;
  // The fence under which the word was given; empty only for the coordinator's own decisions.
  std::optional<std::uint64_t> fence;
  std::optional<std::string> owner;  // must be the job's, else not_found
  std::optional<std::string> node;   // must be the holder, else permission_denied
  std::optional<std::string> manifest_json;
  std::optional<std::string> model_out;
  std::optional<std::string> error_code;
  std::optional<std::string> error_message;
  std::optional<std::int64_t> trained_tokens;
  std::optional<std::int64_t> deadline_ms;
  // Every edge leaves an event; without one here it reads "running" (the new state's name).
  std::optional<new_event> event;
  std::optional<new_outbox_row> outbox;

  edge() = default;
  edge(std::string i, state_set f, job_state t) : id(std::move(i)), from(f), to(t) {}
};

enum class order : std::uint8_t { newest_first, oldest_first };

// What a cursor list returns.
template <class T>
struct page {
  std::vector<T> items;
  bool has_more = false;

  page() = default;
};

struct job_filter {
  std::optional<std::string> owner;  // empty: everybody's
  std::vector<std::string> kinds;    // empty: all
  state_set states;                  // empty: all
  std::string node;                  // its holder; empty: any
  bool slim = false;                 // leave spec_json and manifest_json empty, whatever they are
  std::string after;                 // a job id: begin behind it, in the order asked for
  std::uint32_t limit = 20;
  dlls::ledger::order order = order::newest_first;

  job_filter() = default;
};

// Jobs in each state; a state without jobs is not there.
using job_counts = std::map<job_state, std::uint64_t>;

// An uploaded file's metadata; the bytes are in the artifact store under `sha256`.
struct file {
  std::string id;  // empty in add_file: the ledger makes "file-..."
  std::string owner;
  std::string filename;  // the user's text; never a path
  std::string purpose;
  std::uint64_t bytes = 0;
  std::string sha256;
  std::int64_t created_ms = 0;  // add_file sets it
  std::optional<std::int64_t> expires_ms;
  std::string status = "processed";

  file() = default;
};

struct file_filter {
  std::optional<std::string> owner;
  std::string purpose;  // empty: all
  std::string after;
  std::uint32_t limit = 20;
  dlls::ledger::order order = order::newest_first;

  file_filter() = default;
};

struct api_key {
  std::string id;    // empty in add_api_key: the ledger makes "key_..."
  std::string hash;  // SHA-256 of the key, hexadecimal; the key itself is never stored
  std::string name;
  std::string owner;
  std::int64_t created_ms = 0;
  std::optional<std::int64_t> expires_ms;
  std::optional<std::int64_t> revoked_ms;

  api_key() = default;
  api_key(std::string h, std::string n, std::string o)
      : hash(std::move(h)), name(std::move(n)), owner(std::move(o)) {}
};

struct node {
  std::string name;
  std::string fingerprint;  // SHA-256 of its certificate, hexadecimal
  std::int64_t created_ms = 0;
  std::optional<std::int64_t> revoked_ms;

  node() = default;
};

// What a joining node presents, and the certificate that its acceptance would bind to the name.
struct redemption {
  std::string token_hash;
  std::string node;
  std::string fingerprint;

  redemption() = default;
  redemption(std::string t, std::string n, std::string f)
      : token_hash(std::move(t)), node(std::move(n)), fingerprint(std::move(f)) {}
};

// Since open; read without a queue.
struct ledger_stats {
  std::uint64_t operations = 0;  // executed, reads included
  std::uint64_t commits = 0;     // transactions that wrote
  std::uint64_t batch_max = 0;   // operations of the largest batch
  std::uint64_t checkpoints = 0;
  std::uint64_t queued = 0;         // waiting now
  std::uint64_t refused_edges = 0;  // illegal, stale, wrong state
  bool ballast_held = false;

  ledger_stats() = default;
};

}  // namespace dlls::ledger

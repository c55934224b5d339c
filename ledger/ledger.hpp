// The coordinator's durable truth: jobs, events, files, keys, nodes, tokens, outgoing webhooks.
//
// Every operation is asynchronous and may be called from any thread. Its callback runs exactly
// once, on the ledger's writer thread, after the COMMIT that made the answer durable; it must
// return quickly, must not throw, and may call the ledger again, except close(). An operation that
// is not accepted at all (closed, queue full, a field too long) is answered before the call
// returns, on the caller's thread.
//
// Operations take effect in the order in which one thread called them. Reads see every write that
// was called before them, and they too are answered only when what they saw is durable.
//
// Errors that every operation may bring:
//   unavailable         the COMMIT failed: the outcome is unknown. Repeat it, a submit with the
//   same
//                       idempotency key. Also after close() and after a fatal disk error
//   storage_full        refused because the disk is (nearly) full; nothing was written
//   resource_exhausted  the queue is full; nothing was written
//   invalid_argument    a field is missing or too long (records.hpp, limits)
//   internal            a bug; the operation alone was rolled back
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "ledger/records.hpp"

namespace dlls::ledger {

template <class T>
using reply = std::function<void(base::result<T>)>;

// "In whose name": a job of another owner is not_found. Empty is the coordinator itself.
using owner_scope = std::optional<std::string>;
inline constexpr std::nullopt_t any_owner = std::nullopt;

class ledger {
 public:
  ledger() = default;
  ledger(const ledger&) = delete;
  ledger& operator=(const ledger&) = delete;
  virtual ~ledger() = default;  // as close()

  // Jobs --------------------------------------------------------------------------------------

  // A new job in `submitted`, with its first event. A known (owner, key) with the same canonical
  // body gives the first job again; with another body already_exists. storage_full below the
  // watermark; resource_exhausted past limits::jobs_waiting_max.
  virtual void submit(new_job job, reply<submission> done) = 0;
  // The job that an earlier submit with the owner and key of `like` made; of the rest only kind and
  // body are looked at. For a client that repeats what can't be submitted any more. not_found for a
  // new key, already_exists for another body, as submit.
  virtual void find_submitted(new_job like, reply<job> done) = 0;
  // not_found for another owner's job too: ids of others can't be probed.
  virtual void find_job(owner_scope owner, std::string id, reply<job> done) = 0;
  // not_found when `after` is unknown in that scope.
  virtual void list_jobs(job_filter filter, reply<page<job>> done) = 0;
  virtual void count_jobs(reply<job_counts> done) = 0;

  // Moves a job along one edge of states.hpp (by == advance), with the event and the outbox row of
  // that edge, in one transaction; gives the job as it now stands. Refusals write nothing and are
  // logged: failed_precondition (no such edge, another state, a fence from the future), stale (an
  // older fence), permission_denied (another node), not_found. Never refused for lack of space.
  // Entering `queued` again clears the node. Not idempotent: a repeated edge is
  // failed_precondition.
  virtual void advance(edge step, reply<job> done) = 0;
  // queued or lost_contact -> offered, to `node`: attempt and fence one higher, pause forgotten.
  // `fence`, when given, is the one the caller saw (else stale).
  virtual void grant(
      std::string id, std::string node, std::optional<std::uint64_t> fence, reply<job> done) = 0;
  // All offered and running jobs of the node -> lost_contact, in one transaction; the paused ones.
  virtual void pause(std::string node, std::string reason, reply<std::vector<job>> done) = 0;
  // One job -> lost_contact (its deadline passed unanswered).
  virtual void pause_job(
      std::string id, std::uint64_t fence, std::string reason, reply<job> done) = 0;
  // lost_contact -> the state it was paused from, for its holder under an unchanged fence.
  virtual void resume(std::string id, std::string node, std::uint64_t fence, reply<job> done) = 0;

  // A line for /events; changes no state. With `fence`, an older one is stale. resource_exhausted
  // past limits::events_per_job_max.
  virtual void add_event(
      std::string id, std::optional<std::uint64_t> fence, new_event line, reply<event> done) = 0;
  // `after` is an event id, 0 for the start. not_found when the job is.
  virtual void events(
      owner_scope owner, std::string job, std::int64_t after, std::uint32_t limit, order by,
      reply<page<event>> done) = 0;

  // Deletes what ended (or was sent, used, expired) before the time given: final jobs with their
  // events and keys, sent or abandoned outbox rows, dead tokens; and files whose own time is over.
  // At most `limit` of each. The number deleted.
  virtual void forget(std::int64_t before_ms, std::uint32_t limit, reply<std::uint64_t> done) = 0;

  // Files: metadata; the bytes are in the artifact store. A file whose time is over is not_found.

  // ok, or storage_full: ask before bytes of an upload are accepted. Immediate.
  virtual base::result<> room_for_upload(std::uint64_t bytes) const = 0;
  virtual void add_file(file entry, reply<file> done) = 0;
  virtual void find_file(owner_scope owner, std::string id, reply<file> done) = 0;
  virtual void list_files(file_filter filter, reply<page<file>> done) = 0;
  // The bytes stay until a sweep finds that nothing else needs them.
  virtual void delete_file(owner_scope owner, std::string id, reply<file> done) = 0;
  // Of these blobs (SHA-256), those that no file, no input of an unfinished job and no result of a
  // job still known names.
  virtual void unused_blobs(
      std::vector<std::string> sha256, reply<std::vector<std::string>> done) = 0;

  // Keys, nodes, tokens -------------------------------------------------------------------------

  // already_exists for a known hash.
  virtual void add_api_key(api_key key, reply<api_key> done) = 0;
  // unauthenticated when unknown, revoked or expired.
  virtual void find_api_key(std::string hash, reply<api_key> done) = 0;
  virtual void list_api_keys(reply<std::vector<api_key>> done) = 0;
  // failed_precondition for the last key that opens: nobody would get in any more.
  virtual void revoke_api_key(std::string id, reply<api_key> done) = 0;

  // already_exists when a node of that name is not revoked and has another certificate.
  virtual void add_node(std::string name, std::string fingerprint, reply<node> done) = 0;
  virtual void list_nodes(reply<std::vector<node>> done) = 0;
  // Does not touch its jobs. not_found when unknown.
  virtual void revoke_node(std::string name, reply<node> done) = 0;

  // A single-use right to join, known by its hash. `node`, when not empty, is the only name it is
  // good for, and then it may replace that node's certificate.
  virtual void add_token(
      std::string hash, std::int64_t expires_ms, std::string node, reply<bool> done) = 0;
  // Uses the token and binds the certificate to the name in one transaction. unauthenticated with
  // the reason (unknown, expired, used, for another name); already_exists when the name is taken,
  // and then the token stays good.
  virtual void redeem_token(redemption what, reply<node> done) = 0;

  // Outgoing webhooks -----------------------------------------------------------------------------

  // Takes up to `limit` rows that are due and holds them back for `hold_ms`: a sender that dies
  // leaves them to be claimed again, under the same id. Oldest first.
  virtual void claim_due(
      std::int64_t now_ms, std::int64_t hold_ms, std::uint32_t limit,
      reply<std::vector<outbox_row>> done) = 0;
  virtual void mark_sent(std::string id, reply<bool> done) = 0;
  // Without a next time the row is given up (kept for `forget`).
  virtual void mark_failed(
      std::string id, std::optional<std::int64_t> next_attempt_ms, std::string why,
      reply<bool> done) = 0;
  // When the next row falls due, to set a timer by; empty when none waits.
  virtual void next_due(reply<std::optional<std::int64_t>> done) = 0;

  // Small settings by name (the webhook endpoint, first-start marks) ----------------------------

  virtual void get_setting(std::string key, reply<std::optional<std::string>> done) = 0;
  virtual void set_setting(std::string key, std::string value, reply<bool> done) = 0;

  // ---------------------------------------------------------------------------------------------

  // Thread-safe, immediate.
  virtual ledger_stats stats() const = 0;
  // Answers everything accepted so far, then closes. Idempotent; not from a callback.
  virtual void close() = 0;
};

}  // namespace dlls::ledger

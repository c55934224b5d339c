#include "ledger/detail/job_rows.hpp"

#include <fmt/format.h>

#include "base/check.hpp"
#include "base/encoding.hpp"
#include "base/random.hpp"
#include "base/sha256.hpp"

namespace dlls::ledger::detail {

using base::errc;
using base::error;
using base::result;

namespace {

// In the order in which job_of reads them.
#define DLLS_SLIM_JOB_COLUMNS                                                                   \
  "seq, id, owner, kind, state, paused_from, attempt, fence, node, idempotency_key, model_in, " \
  "model_out, error_code, error_message, trained_tokens, deadline_ms, created_ms, updated_ms, " \
  "started_ms, finished_ms"
#define DLLS_JOB_COLUMNS DLLS_SLIM_JOB_COLUMNS ", manifest_json, spec_json"

job_state state_of(const std::string& stored) {
  const auto state = parse_job_state(stored);
  if (!state) throw sqlite_failure::damage("unknown job state " + stored);
  return *state;
}

job_row job_of(const statement& s, bool slim = false) {
  job_row row;
  auto& j = row.job;
  row.seq = s.integer(0);
  j.id = s.text(1);
  j.owner = s.text(2);
  j.kind = s.text(3);
  j.state = state_of(s.text(4));
  if (!s.is_null(5)) j.paused_from = state_of(s.text(5));
  j.attempt = static_cast<std::uint32_t>(s.integer(6));
  j.fence = static_cast<std::uint64_t>(s.integer(7));
  j.node = s.text(8);
  j.idempotency_key = s.text(9);
  j.model_in = s.text(10);
  j.model_out = s.text(11);
  j.error_code = s.text(12);
  j.error_message = s.text(13);
  j.trained_tokens = s.integer(14);
  j.deadline_ms = s.optional_integer(15);
  j.created_ms = s.integer(16);
  j.updated_ms = s.integer(17);
  j.started_ms = s.optional_integer(18);
  j.finished_ms = s.optional_integer(19);
  if (slim) return row;
  j.manifest_json = s.text(20);
  j.spec_json = s.text(21);
  return row;
}

// The kind is part of it: the same key on another endpoint is another request.
std::string body_hash(const new_job& j) {
  const auto& body = j.canonical_body.empty() ? j.spec_json : j.canonical_body;
  base::sha256 hash;
  hash.update(j.kind);
  hash.update(std::string_view{"\0", 1});
  hash.update(body);
  const auto digest = hash.finish();
  return base::to_hex(digest);
}

struct known_key {
  std::string id;
  std::string body_sha256;
};

std::optional<known_key> find_key(transaction& t, const new_job& j) {
  if (j.idempotency_key.empty()) return std::nullopt;
  auto s = t.db.query(
      "SELECT id, body_sha256 FROM jobs WHERE owner = ? AND idempotency_key = ?", j.owner,
      j.idempotency_key);
  if (!s.step()) return std::nullopt;
  return known_key{s.text(0), s.text(1)};
}

std::optional<std::string> null_when_empty(const std::string& text) {
  return text.empty() ? std::nullopt : std::optional{text};
}

std::size_t text_bytes(const job& j) {
  return j.spec_json.size() + j.manifest_json.size() + j.error_message.size();
}

std::string marks(std::size_t count) {
  std::string text = "?";
  for (std::size_t i = 1; i < count; ++i) text += ", ?";
  return text;
}

std::vector<std::string_view> names_of(state_set states) {
  std::vector<std::string_view> names;
  for (std::size_t i = 0; i < job_state_count; ++i)
    if (const auto s = static_cast<job_state>(i); states.contains(s)) names.push_back(name(s));
  return names;
}

}  // namespace

error no_such_job(const std::string& id) {
  return {errc::not_found, fmt::format("no job '{}'", id)};
}

std::optional<job_row> read_job(transaction& t, const std::string& id) {
  auto s = t.db.query("SELECT " DLLS_JOB_COLUMNS " FROM jobs WHERE id = ?", id);
  if (!s.step()) return std::nullopt;
  return job_of(s);
}

result<job> find_submitted(transaction& t, const new_job& like) {
  const auto known = find_key(t, like);
  if (!known) return error{errc::not_found, "no job was submitted under this idempotency key"};
  if (known->body_sha256 != body_hash(like))
    return error{
        errc::already_exists,
        fmt::format("the idempotency key '{}' was used for another request", like.idempotency_key),
        "use a new key for a new request"};
  auto row = read_job(t, known->id);
  base::check(row.has_value(), "a job vanished within a transaction");
  return std::move(row->job);
}

result<submission> submit(transaction& t, const new_job& j) {
  auto known = find_submitted(t, j);
  if (known) return submission{std::move(*known), true};
  if (known.error().code != errc::not_found) return known.error();
  if (auto room = t.disk.admit_submit(); !room) return room.error();
  if (t.db.query(
              "SELECT 1 FROM jobs WHERE state IN ('submitted', 'queued') LIMIT 1 OFFSET ?",
              limits::jobs_waiting_max - 1)
          .step())
    return error{
        errc::resource_exhausted, fmt::format("{} jobs wait already", limits::jobs_waiting_max),
        "is a node linked? see `dlls nodes`; cancel what is no longer wanted"};
  const auto id = j.id.empty() ? base::random_id("job-") : j.id;
  const auto written = t.db.run(
      "INSERT INTO jobs (id, owner, kind, state, idempotency_key, body_sha256, deadline_ms,"
      " created_ms, updated_ms, model_in, spec_json) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
      " ON CONFLICT (id) DO NOTHING",
      id, j.owner, j.kind, name(job_state::submitted), null_when_empty(j.idempotency_key),
      body_hash(j), j.deadline_ms, t.now_ms, t.now_ms, j.model_in, j.spec_json);
  if (written != 1) return error{errc::already_exists, fmt::format("job '{}' exists", id)};
  const auto seq = t.db.last_id();
  for (const auto& sha : j.inputs)
    t.db.run("INSERT OR IGNORE INTO job_inputs (job_seq, sha256) VALUES (?, ?)", seq, sha);
  write_event(t, seq, new_event{std::string{name(job_state::submitted)}});
  auto row = read_job(t, id);
  base::check(row.has_value(), "a job vanished within a transaction");
  return submission{std::move(row->job), false};
}

result<job> find_job(
    transaction& t, const std::optional<std::string>& owner, const std::string& id) {
  auto row = read_job(t, id);
  if (!row || (owner && row->job.owner != *owner)) return no_such_job(id);
  return std::move(row->job);
}

result<job_counts> count_jobs(transaction& t) {
  job_counts counts;
  auto s = t.db.query("SELECT state, count(*) FROM jobs GROUP BY state");
  while (s.step()) counts[state_of(s.text(0))] = static_cast<std::uint64_t>(s.integer(1));
  return counts;
}

result<page<job>> list_jobs(transaction& t, const job_filter& f) {
  std::int64_t after_seq = 0;
  if (!f.after.empty()) {
    const auto row = read_job(t, f.after);
    if (!row || (f.owner && row->job.owner != *f.owner)) return no_such_job(f.after);
    after_seq = row->seq;
  }
  const bool newest = f.order == order::newest_first;
  const auto states = names_of(f.states);
  std::string sql = f.slim ? "SELECT " DLLS_SLIM_JOB_COLUMNS " FROM jobs WHERE 1"
                           : "SELECT " DLLS_JOB_COLUMNS " FROM jobs WHERE 1";
  if (f.owner) sql += " AND owner = ?";
  if (!f.node.empty()) sql += " AND node = ?";
  if (!f.kinds.empty()) sql += fmt::format(" AND kind IN ({})", marks(f.kinds.size()));
  if (!states.empty()) sql += fmt::format(" AND state IN ({})", marks(states.size()));
  if (after_seq != 0) sql += newest ? " AND seq < ?" : " AND seq > ?";
  sql += newest ? " ORDER BY seq DESC LIMIT ?" : " ORDER BY seq LIMIT ?";

  auto s = t.db.prepare_once(sql);
  if (f.owner) s.bind(*f.owner);
  if (!f.node.empty()) s.bind(f.node);
  for (const auto& k : f.kinds) s.bind(k);
  for (const auto n : states) s.bind(n);
  if (after_seq != 0) s.bind(after_seq);
  s.bind(static_cast<std::int64_t>(f.limit) + 1);

  page<job> found;
  for (std::size_t bytes = 0; s.step();) {
    auto row = job_of(s, f.slim);
    bytes += text_bytes(row.job);
    const bool full = found.items.size() == f.limit || bytes > limits::page_bytes_max;
    if (full && !found.items.empty()) {
      found.has_more = true;
      break;
    }
    found.items.push_back(std::move(row.job));
  }
  return found;
}

}  // namespace dlls::ledger::detail

// The edges of a job: read, refuse, or one conditional UPDATE with its event and outbox row.
#include <fmt/format.h>

#include "base/check.hpp"
#include "base/log.hpp"
#include "base/random.hpp"
#include "ledger/detail/job_rows.hpp"

namespace dlls::ledger::detail {

using base::errc;
using base::error;
using base::result;

namespace {

// What an edge changes besides the state; `grant` and `pause` have their own.
struct change {
  const job_row& row;
  job_state to;
  edge_by by;
  std::string node;
  bool grants = false;
  std::optional<job_state> paused_from = std::nullopt;
  const edge* written = nullptr;  // advance only: the optional columns
};

error refuse(transaction& t, errc code, std::string message) {
  ++t.refused_edges;
  base::log_warning("ledger", "edge refused: {}", message);
  return {code, std::move(message)};
}

result<> check_legal(transaction& t, const job& j, job_state to, edge_by by) {
  if (is_legal(j.state, to, by)) return {};
  return refuse(
      t, errc::failed_precondition,
      fmt::format("job '{}' is {}, which can't become {}", j.id, name(j.state), name(to)));
}

std::optional<std::string_view> name_of(std::optional<job_state> s) {
  return s ? std::optional{name(*s)} : std::nullopt;
}

bool ends_the_work(job_state s) {
  using enum job_state;
  return s == ready || s == failed || s == cancelled || s == expired;
}

// The one UPDATE. Its WHERE repeats what was read, so that no other row can ever be meant.
void apply(transaction& t, const change& c) {
  static const edge nothing;
  const auto& e = c.written ? *c.written : nothing;
  const auto& j = c.row.job;
  const bool starts = c.by == edge_by::advance && c.to == job_state::running;
  const auto now = std::optional{t.now_ms};
  const auto changed = t.db.run(
      "UPDATE jobs SET state = ?, paused_from = ?, node = ?, attempt = attempt + ?,"
      " fence = fence + ?, updated_ms = ?, started_ms = coalesce(?, started_ms),"
      " finished_ms = coalesce(?, finished_ms), deadline_ms = coalesce(?, deadline_ms),"
      " trained_tokens = coalesce(?, trained_tokens), model_out = coalesce(?, model_out),"
      " error_code = coalesce(?, error_code), error_message = coalesce(?, error_message),"
      " manifest_json = coalesce(?, manifest_json)"
      " WHERE id = ? AND state = ? AND fence = ?",
      name(c.to), name_of(c.paused_from), c.node, std::int64_t{c.grants}, std::int64_t{c.grants},
      t.now_ms, starts ? now : std::nullopt, ends_the_work(c.to) ? now : std::nullopt,
      e.deadline_ms, e.trained_tokens, e.model_out, e.error_code, e.error_message, e.manifest_json,
      j.id, name(j.state), j.fence);
  base::check(changed == 1, "an edge's UPDATE changed other than one row");
}

result<job> reread(transaction& t, const std::string& id) {
  auto row = read_job(t, id);
  base::check(row.has_value(), "a job vanished within a transaction");
  return std::move(row->job);
}

void write_outbox(transaction& t, const job& j, const new_outbox_row& row) {
  t.db.run(
      "INSERT INTO outbox (id, job, owner, type, payload_json, created_ms, due_ms)"
      " VALUES (?, ?, ?, ?, ?, ?, ?)",
      row.id.empty() ? base::random_id("evt_") : row.id, j.id, j.owner, row.type, row.payload_json,
      t.now_ms, t.now_ms);
}

// Everything that is asked of an edge before it is written.
result<> check_edge(transaction& t, const edge& e, const job& j) {
  if (e.owner && j.owner != *e.owner) return no_such_job(e.id);
  if (e.fence)
    if (auto ok = check_fence(j, *e.fence); !ok)
      return refuse(t, ok.error().code, ok.error().message);
  if (e.node && j.node != *e.node)
    return refuse(
        t, errc::permission_denied, fmt::format("node '{}' does not hold job '{}'", *e.node, j.id));
  if (!e.from.contains(j.state))
    return refuse(
        t, errc::failed_precondition,
        fmt::format(
            "job '{}' is {}, too late or too early for {}", j.id, name(j.state), name(e.to)));
  return check_legal(t, j, e.to, edge_by::advance);
}

result<job> pause_row(transaction& t, const job_row& row, const std::string& reason) {
  const auto& j = row.job;
  if (auto ok = check_legal(t, j, job_state::lost_contact, edge_by::pause); !ok) return ok.error();
  change c{row, job_state::lost_contact, edge_by::pause, j.node};
  c.paused_from = j.state;
  apply(t, c);
  write_event(t, row.seq, new_event{"lost contact: " + reason, event_level::warn});
  return reread(t, j.id);
}

}  // namespace

result<> check_fence(const job& j, std::uint64_t fence) {
  if (fence == j.fence) return {};
  if (fence < j.fence)
    return error{
        errc::stale,
        fmt::format("job '{}' was granted again: fence {} is older than {}", j.id, fence, j.fence)};
  return error{
      errc::failed_precondition,
      fmt::format("job '{}' has fence {}, not yet {}", j.id, j.fence, fence)};
}

result<job> advance(transaction& t, const edge& e) {
  const auto row = read_job(t, e.id);
  if (!row) return no_such_job(e.id);
  if (auto ok = check_edge(t, e, row->job); !ok) return ok.error();
  change c{*row, e.to, edge_by::advance, e.to == job_state::queued ? "" : row->job.node};
  c.written = &e;
  apply(t, c);
  write_event(t, row->seq, e.event.value_or(new_event{std::string{name(e.to)}}));
  if (e.outbox) {
    if (!e.outbox->id.empty() &&
        t.db.query("SELECT 1 FROM outbox WHERE id = ?", e.outbox->id).step())
      return error{errc::already_exists, fmt::format("webhook '{}' exists", e.outbox->id)};
    write_outbox(t, row->job, *e.outbox);
  }
  return reread(t, e.id);
}

result<job> grant(
    transaction& t, const std::string& id, const std::string& node,
    std::optional<std::uint64_t> fence) {
  const auto row = read_job(t, id);
  if (!row) return no_such_job(id);
  if (fence)
    if (auto ok = check_fence(row->job, *fence); !ok)
      return refuse(t, ok.error().code, ok.error().message);
  if (auto ok = check_legal(t, row->job, job_state::offered, edge_by::grant); !ok)
    return ok.error();
  change c{*row, job_state::offered, edge_by::grant, node};
  c.grants = true;
  apply(t, c);
  write_event(t, row->seq, new_event{fmt::format("offered to node '{}'", node)});
  return reread(t, id);
}

result<std::vector<job>> pause(transaction& t, const std::string& node, const std::string& reason) {
  std::vector<std::string> held;
  {
    auto s = t.db.query(
        "SELECT id FROM jobs WHERE state IN ('offered', 'running') AND node = ? ORDER BY seq",
        node);
    while (s.step()) held.push_back(s.text(0));
  }
  std::vector<job> paused;
  for (const auto& id : held) {
    const auto row = read_job(t, id);
    base::check(row.has_value(), "a job vanished within a transaction");
    auto j = pause_row(t, *row, reason);
    if (!j) return j.error();
    paused.push_back(std::move(*j));
  }
  return paused;
}

result<job> pause_job(
    transaction& t, const std::string& id, std::uint64_t fence, const std::string& reason) {
  const auto row = read_job(t, id);
  if (!row) return no_such_job(id);
  if (auto ok = check_fence(row->job, fence); !ok)
    return refuse(t, ok.error().code, ok.error().message);
  return pause_row(t, *row, reason);
}

result<job> resume(
    transaction& t, const std::string& id, const std::string& node, std::uint64_t fence) {
  const auto row = read_job(t, id);
  if (!row) return no_such_job(id);
  const auto& j = row->job;
  if (auto ok = check_fence(j, fence); !ok) return refuse(t, ok.error().code, ok.error().message);
  if (j.node != node)
    return refuse(
        t, errc::permission_denied, fmt::format("node '{}' does not hold job '{}'", node, id));
  if (j.state != job_state::lost_contact || !j.paused_from)
    return refuse(
        t, errc::failed_precondition,
        fmt::format("job '{}' is {}, not lost_contact", id, name(j.state)));
  if (auto ok = check_legal(t, j, *j.paused_from, edge_by::resume); !ok) return ok.error();
  apply(t, change{*row, *j.paused_from, edge_by::resume, node});
  write_event(t, row->seq, new_event{fmt::format("node '{}' is back", node)});
  return reread(t, id);
}

}  // namespace dlls::ledger::detail

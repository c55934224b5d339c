#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "ledger/detail/job_rows.hpp"

namespace dlls::ledger::detail {

using base::errc;
using base::error;
using base::result;

namespace {

constexpr std::array<std::string_view, 3> level_names{"info", "warn", "error"};

std::string_view name(event_level level) { return level_names[static_cast<std::size_t>(level)]; }

event_level level_of(std::string_view stored) {
  const auto at = std::ranges::find(level_names, stored) - level_names.begin();
  return at < 3 ? static_cast<event_level>(at) : event_level::error;
}

}  // namespace

std::int64_t write_event(transaction& t, std::int64_t job_seq, const new_event& e) {
  t.db.run(
      "INSERT INTO events (job_seq, at_ms, level, type, message, data_json)"
      " VALUES (?, ?, ?, ?, ?, ?)",
      job_seq, t.now_ms, name(e.level), e.type, e.message, e.data_json);
  const auto id = t.db.last_id();
  t.db.run("UPDATE jobs SET event_count = event_count + 1 WHERE seq = ?", job_seq);
  return id;
}

result<event> add_event(
    transaction& t, const std::string& id, std::optional<std::uint64_t> fence, const new_event& e) {
  const auto row = read_job(t, id);
  if (!row) return no_such_job(id);
  if (fence)
    if (auto ok = check_fence(row->job, *fence); !ok) return ok.error();
  {
    auto count = t.db.query("SELECT event_count FROM jobs WHERE seq = ?", row->seq);
    if (count.step() && count.integer(0) >= limits::events_per_job_max)
      return error{
          errc::resource_exhausted,
          fmt::format("job '{}' has {} events, no more are kept", id, limits::events_per_job_max)};
  }
  event written;
  written.id = write_event(t, row->seq, e);
  written.job = id;
  written.at_ms = t.now_ms;
  written.level = e.level;
  written.type = e.type;
  written.message = e.message;
  written.data_json = e.data_json;
  return written;
}

result<page<event>> list_events(
    transaction& t, const std::optional<std::string>& owner, const std::string& id,
    std::int64_t after, std::uint32_t limit, order by) {
  const auto row = read_job(t, id);
  if (!row || (owner && row->job.owner != *owner)) return no_such_job(id);
  constexpr auto no_bound = std::numeric_limits<std::int64_t>::max();
  const bool newest = by == order::newest_first;
  auto s = newest ? t.db.query(
                        "SELECT id, at_ms, level, type, message, data_json FROM events"
                        " WHERE job_seq = ? AND id < ? ORDER BY id DESC LIMIT ?",
                        row->seq, after == 0 ? no_bound : after, std::int64_t{limit} + 1)
                  : t.db.query(
                        "SELECT id, at_ms, level, type, message, data_json FROM events"
                        " WHERE job_seq = ? AND id > ? ORDER BY id LIMIT ?",
                        row->seq, after, std::int64_t{limit} + 1);
  page<event> found;
  for (std::size_t bytes = 0; s.step();) {
    event e;
    e.id = s.integer(0);
    e.job = id;
    e.at_ms = s.integer(1);
    e.level = level_of(s.text(2));
    e.type = s.text(3);
    e.message = s.text(4);
    e.data_json = s.text(5);
    bytes += e.message.size() + e.data_json.size();
    const bool full = found.items.size() == limit || bytes > limits::page_bytes_max;
    if (full && !found.items.empty()) {
      found.has_more = true;
      break;
    }
    found.items.push_back(std::move(e));
  }
  return found;
}

result<std::uint64_t> forget(transaction& t, std::int64_t before_ms, std::uint32_t limit) {
  std::int64_t gone = 0;
  gone += t.db.run(
      "DELETE FROM jobs WHERE seq IN (SELECT seq FROM jobs WHERE state IN"
      " ('released', 'failed', 'cancelled', 'expired') AND updated_ms < ? LIMIT ?)",
      before_ms, limit);
  gone += t.db.run(
      "DELETE FROM outbox WHERE seq IN (SELECT seq FROM outbox WHERE due_ms IS NULL AND"
      " coalesce(sent_ms, created_ms) < ? LIMIT ?)",
      before_ms, limit);
  gone += t.db.run(
      "DELETE FROM tokens WHERE hash IN (SELECT hash FROM tokens WHERE"
      " coalesce(used_ms, expires_ms) < ? LIMIT ?)",
      before_ms, limit);
  gone += t.db.run(
      "DELETE FROM files WHERE seq IN (SELECT seq FROM files WHERE expires_ms <= ? LIMIT ?)",
      t.now_ms, limit);
  return static_cast<std::uint64_t>(gone);
}

}  // namespace dlls::ledger::detail

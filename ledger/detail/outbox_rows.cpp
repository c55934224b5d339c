#include "ledger/detail/outbox_rows.hpp"

#include <fmt/format.h>

namespace dlls::ledger::detail {

using base::errc;
using base::error;
using base::result;

namespace {
// True, or not_found when the id is no row's. A row that was sent stays sent.
result<bool> known(transaction& t, const std::string& id) {
  if (t.db.query("SELECT 1 FROM outbox WHERE id = ?", id).step()) return true;
  return error{errc::not_found, fmt::format("no webhook '{}'", id)};
}
}  // namespace

result<std::vector<outbox_row>> claim_due(
    transaction& t, std::int64_t now_ms, std::int64_t hold_ms, std::uint32_t limit) {
  std::vector<outbox_row> due;
  {
    auto s = t.db.query(
        "SELECT id, job, owner, type, payload_json, created_ms, attempts FROM outbox"
        " WHERE due_ms IS NOT NULL AND due_ms <= ? ORDER BY due_ms, seq LIMIT ?",
        now_ms, limit);
    for (std::size_t bytes = 0; bytes <= limits::page_bytes_max && s.step();) {
      outbox_row row;
      row.id = s.text(0);
      row.job = s.text(1);
      row.owner = s.text(2);
      row.type = s.text(3);
      row.payload_json = s.text(4);
      row.created_ms = s.integer(5);
      row.attempts = static_cast<std::uint32_t>(s.integer(6)) + 1;
      bytes += row.payload_json.size();
      due.push_back(std::move(row));
    }
  }
  for (const auto& row : due)
    t.db.run(
        "UPDATE outbox SET attempts = ?, due_ms = ? WHERE id = ?", row.attempts, now_ms + hold_ms,
        row.id);
  return due;
}

result<bool> mark_sent(transaction& t, const std::string& id) {
  t.db.run(
      "UPDATE outbox SET sent_ms = ?, due_ms = NULL, last_error = '' WHERE id = ?"
      " AND sent_ms IS NULL",
      t.now_ms, id);
  return known(t, id);
}

result<bool> mark_failed(
    transaction& t, const std::string& id, std::optional<std::int64_t> next_attempt_ms,
    const std::string& why) {
  t.db.run(
      "UPDATE outbox SET due_ms = ?, last_error = ? WHERE id = ? AND sent_ms IS NULL",
      next_attempt_ms, why, id);
  return known(t, id);
}

result<std::optional<std::int64_t>> next_due(transaction& t) {
  auto s = t.db.query("SELECT min(due_ms) FROM outbox WHERE due_ms IS NOT NULL");
  if (!s.step()) return std::optional<std::int64_t>{};
  return s.optional_integer(0);
}

}  // namespace dlls::ledger::detail

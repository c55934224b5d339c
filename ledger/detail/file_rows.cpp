#include "ledger/detail/file_rows.hpp"

#include <fmt/format.h>

#include <set>

#include "base/random.hpp"

namespace dlls::ledger::detail {

using base::errc;
using base::error;
using base::result;

namespace {

#define DLLS_FILE_COLUMNS \
  "seq, id, owner, filename, purpose, bytes, sha256, created_ms, expires_ms, status"

struct file_row {
  std::int64_t seq = 0;
  dlls::ledger::file file;
};

file_row file_of(const statement& s) {
  file_row row;
  auto& f = row.file;
  row.seq = s.integer(0);
  f.id = s.text(1);
  f.owner = s.text(2);
  f.filename = s.text(3);
  f.purpose = s.text(4);
  f.bytes = static_cast<std::uint64_t>(s.integer(5));
  f.sha256 = s.text(6);
  f.created_ms = s.integer(7);
  f.expires_ms = s.optional_integer(8);
  f.status = s.text(9);
  return row;
}

result<file_row> read_file_row(
    transaction& t, const std::optional<std::string>& owner, const std::string& id) {
  auto s = t.db.query(
      "SELECT " DLLS_FILE_COLUMNS " FROM files WHERE id = ? AND coalesce(expires_ms > ?, 1)", id,
      t.now_ms);
  if (s.step()) {
    auto row = file_of(s);
    if (!owner || row.file.owner == *owner) return row;
  }
  return error{errc::not_found, fmt::format("no file '{}'", id)};
}

bool is_named(transaction& t, const std::string& sha256) {
  if (t.db.query("SELECT 1 FROM files WHERE sha256 = ?", sha256).step()) return true;
  return t.db
      .query(
          "SELECT 1 FROM job_inputs JOIN jobs ON jobs.seq = job_inputs.job_seq"
          " WHERE job_inputs.sha256 = ? AND jobs.state NOT IN"
          " ('ready', 'fetched', 'released', 'failed', 'cancelled', 'expired')",
          sha256)
      .step();
}

}  // namespace

result<file> add_file(transaction& t, const file& f) {
  auto entry = f;
  if (entry.id.empty()) entry.id = base::random_id("file-");
  entry.created_ms = t.now_ms;
  const auto written = t.db.run(
      "INSERT INTO files (id, owner, filename, purpose, bytes, sha256, created_ms, expires_ms,"
      " status) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
      entry.id, entry.owner, entry.filename, entry.purpose, entry.bytes, entry.sha256,
      entry.created_ms, entry.expires_ms, entry.status);
  if (written != 1) return error{errc::already_exists, fmt::format("file '{}' exists", entry.id)};
  return entry;
}

result<file> find_file(
    transaction& t, const std::optional<std::string>& owner, const std::string& id) {
  auto row = read_file_row(t, owner, id);
  if (!row) return row.error();
  return std::move(row->file);
}

result<page<file>> list_files(transaction& t, const file_filter& f) {
  std::int64_t after_seq = 0;
  if (!f.after.empty()) {
    auto row = read_file_row(t, f.owner, f.after);
    if (!row) return row.error();
    after_seq = row->seq;
  }
  const bool newest = f.order == order::newest_first;
  std::string sql = "SELECT " DLLS_FILE_COLUMNS " FROM files WHERE 1";
  sql += " AND coalesce(expires_ms > ?, 1)";
  if (f.owner) sql += " AND owner = ?";
  if (!f.purpose.empty()) sql += " AND purpose = ?";
  if (after_seq != 0) sql += newest ? " AND seq < ?" : " AND seq > ?";
  sql += newest ? " ORDER BY seq DESC LIMIT ?" : " ORDER BY seq LIMIT ?";

  auto s = t.db.prepare_once(sql);
  s.bind(t.now_ms);
  if (f.owner) s.bind(*f.owner);
  if (!f.purpose.empty()) s.bind(f.purpose);
  if (after_seq != 0) s.bind(after_seq);
  s.bind(static_cast<std::int64_t>(f.limit) + 1);

  page<file> found;
  while (s.step()) {
    if (found.items.size() == f.limit) {
      found.has_more = true;
      break;
    }
    found.items.push_back(file_of(s).file);
  }
  return found;
}

result<file> delete_file(
    transaction& t, const std::optional<std::string>& owner, const std::string& id) {
  auto row = read_file_row(t, owner, id);
  if (!row) return row.error();
  t.db.run("DELETE FROM files WHERE seq = ?", row->seq);
  return std::move(row->file);
}

result<std::vector<std::string>> unused_blobs(
    transaction& t, const std::vector<std::string>& sha256) {
  std::set<std::string> unused;
  for (const auto& name : sha256)
    if (!is_named(t, name)) unused.insert(name);
  // A manifest is JSON that names its artifacts by 64 hexadecimal digits between quotes; one pass
  // over all of them, however many blobs are asked for.
  auto s = t.db.query("SELECT manifest_json FROM jobs WHERE manifest_json <> ''");
  while (!unused.empty() && s.step()) {
    const auto text = s.text(0);
    for (auto quote = text.find('"'); quote != text.npos; quote = text.find('"', quote + 1))
      if (quote + 65 < text.size() && text[quote + 65] == '"')
        unused.erase(text.substr(quote + 1, 64));
  }
  return std::vector<std::string>(unused.begin(), unused.end());
}

}  // namespace dlls::ledger::detail

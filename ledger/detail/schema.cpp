#include "ledger/detail/schema.hpp"

#include <fmt/format.h>

namespace dlls::ledger::detail {

using base::errc;
using base::error;
using base::result;

namespace {

constexpr const char* tables = R"sql(
CREATE TABLE jobs (
  seq             INTEGER PRIMARY KEY AUTOINCREMENT,
  id              TEXT NOT NULL UNIQUE,
  owner           TEXT NOT NULL,
  kind            TEXT NOT NULL,
  state           TEXT NOT NULL,
  paused_from     TEXT,
  attempt         INTEGER NOT NULL DEFAULT 0,
  fence           INTEGER NOT NULL DEFAULT 0,
  node            TEXT NOT NULL DEFAULT '',
  idempotency_key TEXT,
  body_sha256     TEXT NOT NULL,
  event_count     INTEGER NOT NULL DEFAULT 0,
  trained_tokens  INTEGER NOT NULL DEFAULT 0,
  deadline_ms     INTEGER,
  created_ms      INTEGER NOT NULL,
  updated_ms      INTEGER NOT NULL,
  started_ms      INTEGER,
  finished_ms     INTEGER,
  model_in        TEXT NOT NULL,
  model_out       TEXT NOT NULL DEFAULT '',
  error_code      TEXT NOT NULL DEFAULT '',
  error_message   TEXT NOT NULL DEFAULT '',
  manifest_json   TEXT NOT NULL DEFAULT '',
  spec_json       TEXT NOT NULL,
  UNIQUE (owner, idempotency_key),
  CHECK ((state = 'lost_contact') = (paused_from IS NOT NULL))
) STRICT;
CREATE INDEX jobs_by_owner ON jobs (owner, seq);
CREATE INDEX jobs_by_state ON jobs (state, seq);

CREATE TABLE job_inputs (
  job_seq INTEGER NOT NULL REFERENCES jobs (seq) ON DELETE CASCADE,
  sha256  TEXT NOT NULL,
  PRIMARY KEY (job_seq, sha256)
) STRICT, WITHOUT ROWID;
CREATE INDEX job_inputs_by_blob ON job_inputs (sha256);

CREATE TABLE events (
  id        INTEGER PRIMARY KEY AUTOINCREMENT,
  job_seq   INTEGER NOT NULL REFERENCES jobs (seq) ON DELETE CASCADE,
  at_ms     INTEGER NOT NULL,
  level     TEXT NOT NULL,
  type      TEXT NOT NULL,
  message   TEXT NOT NULL,
  data_json TEXT NOT NULL
) STRICT;
CREATE INDEX events_by_job ON events (job_seq, id);

CREATE TABLE outbox (
  seq          INTEGER PRIMARY KEY AUTOINCREMENT,
  id           TEXT NOT NULL UNIQUE,
  job          TEXT NOT NULL,
  owner        TEXT NOT NULL,
  type         TEXT NOT NULL,
  payload_json TEXT NOT NULL,
  created_ms   INTEGER NOT NULL,
  attempts     INTEGER NOT NULL DEFAULT 0,
  due_ms       INTEGER,
  sent_ms      INTEGER,
  last_error   TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX outbox_due ON outbox (due_ms) WHERE due_ms IS NOT NULL;

CREATE TABLE files (
  seq        INTEGER PRIMARY KEY AUTOINCREMENT,
  id         TEXT NOT NULL UNIQUE,
  owner      TEXT NOT NULL,
  filename   TEXT NOT NULL,
  purpose    TEXT NOT NULL,
  bytes      INTEGER NOT NULL,
  sha256     TEXT NOT NULL,
  created_ms INTEGER NOT NULL,
  expires_ms INTEGER,
  status     TEXT NOT NULL
) STRICT;
CREATE INDEX files_by_owner ON files (owner, seq);
CREATE INDEX files_by_blob ON files (sha256);

CREATE TABLE api_keys (
  id         TEXT PRIMARY KEY,
  hash       TEXT NOT NULL UNIQUE,
  name       TEXT NOT NULL,
  owner      TEXT NOT NULL,
  created_ms INTEGER NOT NULL,
  expires_ms INTEGER,
  revoked_ms INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE nodes (
  name        TEXT PRIMARY KEY,
  fingerprint TEXT NOT NULL,
  created_ms  INTEGER NOT NULL,
  revoked_ms  INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE tokens (
  hash       TEXT PRIMARY KEY,
  node       TEXT NOT NULL,
  created_ms INTEGER NOT NULL,
  expires_ms INTEGER NOT NULL,
  used_ms    INTEGER,
  used_by    TEXT NOT NULL DEFAULT ''
) STRICT, WITHOUT ROWID;

CREATE TABLE settings (
  key   TEXT PRIMARY KEY,
  value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
)sql";

std::int64_t pragma(connection& db, const std::string& name) {
  auto s = db.prepare_once("PRAGMA " + name);
  return s.step() ? s.integer(0) : 0;
}

// Entering WAL mode of a new file goes through a rollback journal. Its removal must reach the disk,
// or a power cut brings it back and it undoes everything since: EXTRA syncs the folder, FULL does
// not.
void set_pragmas(connection& db, const sqlite_options& options) {
  db.execute(fmt::format(
      "PRAGMA locking_mode = EXCLUSIVE;"
      "PRAGMA page_size = 4096;"
      "PRAGMA synchronous = EXTRA;"
      "PRAGMA journal_mode = WAL;"
      "PRAGMA synchronous = {};"
      "PRAGMA foreign_keys = ON;"
      "PRAGMA cell_size_check = ON;"
      "PRAGMA trusted_schema = OFF;"
      "PRAGMA temp_store = MEMORY;"
      "PRAGMA mmap_size = 0;"
      "PRAGMA cache_size = -{};"
      "PRAGMA journal_size_limit = {};",
      options.synchronous, options.cache_kib, std::int64_t{options.checkpoint_pages} * 4096 * 2));
}

result<> check_content(connection& db) {
  auto s = db.prepare_once("PRAGMA quick_check(1)");
  const auto verdict = s.step() ? s.text(0) : "no answer";
  if (verdict == "ok") return {};
  return error{
      errc::corrupt, "the ledger is damaged: " + verdict,
      "keep the file, restore the last backup beside it"};
}

}  // namespace

result<> prepare_database(connection& db, const sqlite_options& options) {
  set_pragmas(db, options);
  db.execute("BEGIN IMMEDIATE; COMMIT;");  // from here on no other process gets in
  const auto version = pragma(db, "user_version");
  const auto application = pragma(db, "application_id");
  if (version == 0 && application == 0 && pragma(db, "schema_version") == 0) {
    db.execute(fmt::format(
        "BEGIN IMMEDIATE; {} PRAGMA application_id = {}; PRAGMA user_version = {}; COMMIT;", tables,
        application_id, schema_version));
    return {};
  }
  if (application != application_id)
    return error{errc::corrupt, "the file is an SQLite database, but not a ledger"};
  if (version > schema_version)
    return error{
        errc::version_mismatch,
        fmt::format(
            "the ledger has schema version {}, this program knows {}", version, schema_version),
        "start the newer program, or restore the backup made before the upgrade"};
  return check_content(db);
}

}  // namespace dlls::ledger::detail

#include "ledger/detail/connection.hpp"

#include <sqlite3.h>

#include <utility>

#include "base/check.hpp"

namespace dlls::ledger::detail {

sqlite_failure::sqlite_failure(int extended_code, const std::string& message)
    : std::runtime_error(message), code_(extended_code) {}
sqlite_failure sqlite_failure::damage(const std::string& message) {
  return {SQLITE_CORRUPT, message};
}
int sqlite_failure::code() const noexcept { return code_ & 0xff; }
bool sqlite_failure::is_full() const noexcept { return code() == SQLITE_FULL; }
bool sqlite_failure::is_busy() const noexcept {
  return code() == SQLITE_BUSY || code() == SQLITE_LOCKED;
}
bool sqlite_failure::is_disk_failure() const noexcept {
  const bool io = code() == SQLITE_IOERR && code_ != SQLITE_IOERR_NOMEM;
  return io || is_damage() || code() == SQLITE_CANTOPEN;
}
bool sqlite_failure::is_damage() const noexcept {
  return code() == SQLITE_CORRUPT || code() == SQLITE_NOTADB;
}

// statement -------------------------------------------------------------------------------------

statement::statement(statement&& other) noexcept
    : db_(other.db_),
      raw_(std::exchange(other.raw_, nullptr)),
      owned_(other.owned_),
      bound_(other.bound_) {}

statement::~statement() {
  if (!raw_) return;
  if (owned_) {
    sqlite3_finalize(raw_);
  } else {
    sqlite3_reset(raw_);
    sqlite3_clear_bindings(raw_);
  }
}

void statement::check(int code) const {
  if (code != SQLITE_OK) throw sqlite_failure{sqlite3_extended_errcode(db_), sqlite3_errmsg(db_)};
}

statement& statement::bind(std::int64_t value) {
  check(sqlite3_bind_int64(raw_, ++bound_, value));
  return *this;
}

statement& statement::bind(std::string_view text) {
  const char* data = text.data() ? text.data() : "";
  check(sqlite3_bind_text64(raw_, ++bound_, data, text.size(), SQLITE_STATIC, SQLITE_UTF8));
  return *this;
}

statement& statement::bind_null() {
  check(sqlite3_bind_null(raw_, ++bound_));
  return *this;
}

bool statement::step() {
  const int code = sqlite3_step(raw_);
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  throw sqlite_failure{sqlite3_extended_errcode(db_), sqlite3_errmsg(db_)};
}

void statement::run() {
  while (step()) {
  }
}

bool statement::is_null(int column) const {
  return sqlite3_column_type(raw_, column) == SQLITE_NULL;
}
std::int64_t statement::integer(int column) const { return sqlite3_column_int64(raw_, column); }

std::string statement::text(int column) const {
  const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(raw_, column));
  if (!text) return {};
  return {text, static_cast<std::size_t>(sqlite3_column_bytes(raw_, column))};
}

std::optional<std::int64_t> statement::optional_integer(int column) const {
  if (is_null(column)) return std::nullopt;
  return integer(column);
}

// connection ------------------------------------------------------------------------------------

connection::connection(const std::string& path, const std::string& vfs) {
  constexpr int flags =
      SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
  const int code = sqlite3_open_v2(path.c_str(), &db_, flags, vfs.empty() ? nullptr : vfs.c_str());
  if (code != SQLITE_OK) {
    const std::string why = db_ ? sqlite3_errmsg(db_) : "out of memory";
    sqlite3_close_v2(db_);
    throw sqlite_failure{code, why};
  }
  sqlite3_wal_hook(db_, &connection::on_commit, this);
}

connection::~connection() {
  for (auto& [sql, raw] : cache_) sqlite3_finalize(raw);
  sqlite3_close_v2(db_);
}

int connection::on_commit(void* self, sqlite3*, const char*, int pages) {
  static_cast<connection*>(self)->log_pages_ = pages;
  return SQLITE_OK;
}

statement connection::prepare(std::string_view sql) {
  auto found = cache_.find(sql);
  if (found == cache_.end()) {
    sqlite3_stmt* raw = nullptr;
    const int code = sqlite3_prepare_v3(
        db_, sql.data(), static_cast<int>(sql.size()), SQLITE_PREPARE_PERSISTENT, &raw, nullptr);
    if (code != SQLITE_OK) throw sqlite_failure{code, sqlite3_errmsg(db_)};
    found = cache_.emplace(sql, raw).first;
  }
  base::check(!sqlite3_stmt_busy(found->second), "a statement is used within itself");
  return {db_, found->second, false};
}

statement connection::prepare_once(const std::string& sql) {
  sqlite3_stmt* raw = nullptr;
  const int code =
      sqlite3_prepare_v2(db_, sql.c_str(), static_cast<int>(sql.size()), &raw, nullptr);
  if (code != SQLITE_OK) throw sqlite_failure{code, sqlite3_errmsg(db_)};
  return {db_, raw, true};
}

void connection::execute(const std::string& script) {
  const int code = sqlite3_exec(db_, script.c_str(), nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) throw sqlite_failure{code, sqlite3_errmsg(db_)};
}

std::int64_t connection::changes() const { return sqlite3_changes64(db_); }
std::int64_t connection::total_changes() const { return sqlite3_total_changes64(db_); }
std::int64_t connection::last_id() const { return sqlite3_last_insert_rowid(db_); }
bool connection::in_transaction() const { return sqlite3_get_autocommit(db_) == 0; }

void connection::checkpoint() {
  const int code =
      sqlite3_wal_checkpoint_v2(db_, nullptr, SQLITE_CHECKPOINT_PASSIVE, nullptr, nullptr);
  if (code != SQLITE_OK) throw sqlite_failure{sqlite3_extended_errcode(db_), sqlite3_errmsg(db_)};
  log_pages_ = 0;
}

void connection::abandon_log() {
  sqlite3_db_config(db_, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
}

}  // namespace dlls::ledger::detail

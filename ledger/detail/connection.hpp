// The door to SQLite: a connection, its cached statements, and its failures as one exception type.
// Everything here belongs to one thread at a time (the writer's, after open).
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <unordered_map>

struct sqlite3;
struct sqlite3_stmt;

namespace dlls::ledger::detail {

// What SQLite answered; caught in writer.cpp and sqlite_ledger.cpp and nowhere else.
class sqlite_failure : public std::runtime_error {
 public:
  sqlite_failure(int extended_code, const std::string& message);
  // For content that no program of ours can have written.
  static sqlite_failure damage(const std::string& message);
  int code() const noexcept;  // primary
  int extended_code() const noexcept { return code_; }
  // The disk has no room; nothing of the statement was written.
  bool is_full() const noexcept;
  // An I/O error or damaged pages: what SQLite believes and what the disk holds may differ now.
  bool is_disk_failure() const noexcept;
  bool is_damage() const noexcept;  // not a database, or corrupt pages
  bool is_busy() const noexcept;

 private:
  int code_;
};

// A prepared statement on loan; given back clean. Binds in the order of the question marks.
class statement {
 public:
  statement(sqlite3* db, sqlite3_stmt* raw, bool owned) : db_(db), raw_(raw), owned_(owned) {}
  statement(statement&& other) noexcept;
  ~statement();

  statement& bind(std::int64_t value);
  statement& bind(std::uint64_t value) { return bind(static_cast<std::int64_t>(value)); }
  statement& bind(std::uint32_t value) { return bind(static_cast<std::int64_t>(value)); }
  // The text must outlive the statement's use.
  statement& bind(std::string_view text);
  statement& bind(const char* text) { return bind(std::string_view{text}); }
  statement& bind(const std::string& text) { return bind(std::string_view{text}); }
  statement& bind_null();
  template <class T>
  statement& bind(const std::optional<T>& value) {
    return value ? bind(*value) : bind_null();
  }

  bool step();  // true: a row is there
  void run();   // to the end

  bool is_null(int column) const;
  std::int64_t integer(int column) const;
  std::string text(int column) const;
  std::optional<std::int64_t> optional_integer(int column) const;

 private:
  void check(int code) const;
  sqlite3* db_;
  sqlite3_stmt* raw_;
  bool owned_;
  int bound_ = 0;
};

class connection {
 public:
  // Throws sqlite_failure. An empty vfs is the default one.
  connection(const std::string& path, const std::string& vfs);
  ~connection();
  connection(const connection&) = delete;
  connection& operator=(const connection&) = delete;

  // `sql` must be a literal: the cache keeps its address.
  statement prepare(std::string_view sql);
  // For text made at run time; not cached.
  statement prepare_once(const std::string& sql);
  // Binds the values in order and runs to the end; the number of rows changed.
  template <class... Ts>
  std::int64_t run(std::string_view sql, const Ts&... values) {
    auto s = prepare(sql);
    (s.bind(values), ...);
    s.run();
    return changes();
  }
  template <class... Ts>
  statement query(std::string_view sql, const Ts&... values) {
    auto s = prepare(sql);
    (s.bind(values), ...);
    return s;
  }
  void execute(const std::string& script);

  std::int64_t changes() const;        // of the last statement
  std::int64_t total_changes() const;  // since open
  std::int64_t last_id() const;
  bool in_transaction() const;
  int log_pages() const { return log_pages_; }  // of the write-ahead log after the last commit
  // Moves the log into the database. With one connection it always gets to the end.
  void checkpoint();
  // After a disk failure: leave the log as it is for the next start to judge.
  void abandon_log();

 private:
  static int on_commit(void* self, sqlite3* db, const char* name, int pages);
  sqlite3* db_ = nullptr;
  int log_pages_ = 0;
  std::unordered_map<std::string_view, sqlite3_stmt*> cache_;
};

}  // namespace dlls::ledger::detail

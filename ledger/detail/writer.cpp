#include "ledger/detail/writer.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "base/check.hpp"
#include "base/log.hpp"

namespace dlls::ledger::detail {

using base::errc;
using base::error;

namespace {

constexpr int exit_code_io = 74;  // EX_IOERR

error closed_error() { return {errc::unavailable, "the ledger is closed"}; }
error failed_error() {
  return {
      errc::unavailable, "the ledger's disk failed; nothing is acknowledged any more",
      "repeat the request when the coordinator is back"};
}
error unknown_error(const std::string& why) {
  return {
      errc::unavailable, fmt::format("the outcome is unknown: COMMIT failed ({})", why),
      "repeat the request with the same idempotency key"};
}
error rolled_back_error(const sqlite_failure& f) {
  const auto code = f.is_full()           ? errc::storage_full
                    : f.is_disk_failure() ? errc::io
                                          : errc::unavailable;
  return {code, fmt::format("nothing was written: {}", f.what())};
}

void leave(const error& why) {
  base::log_error("ledger", "{}; leaving", why.text());
  std::_Exit(exit_code_io);
}

}  // namespace

writer::writer(
    std::unique_ptr<connection> db, const std::filesystem::path& path,
    const sqlite_options& options, const base::clock& clock)
    : options_(options), clock_(clock), db_(std::move(db)), disk_(path, options) {
  disk_.tend();
  thread_ = std::thread{[this] { loop(); }};
}

writer::~writer() { close(); }

void writer::post(std::unique_ptr<operation> op) {
  error refusal;
  {
    std::lock_guard lock{mutex_};
    const bool full = queue_.size() >= options_.queue_operations_max ||
                      queued_bytes_ + op->bytes() > options_.queue_bytes_max;
    if (closing_) {
      refusal = closed_error();
    } else if (failed_) {
      refusal = failed_error();
    } else if (full) {
      refusal = {errc::resource_exhausted, "the ledger's queue is full", "try again in a moment"};
    } else {
      queued_bytes_ += op->bytes();
      queue_.push_back(std::move(op));
      wake_.notify_one();
      return;
    }
  }
  op->fail(refusal);
  op->answer();
}

void writer::close() {
  base::check(std::this_thread::get_id() != thread_.get_id(), "a ledger callback closes it");
  std::call_once(closed_, [this] {
    {
      std::lock_guard lock{mutex_};
      closing_ = true;
    }
    wake_.notify_one();
    thread_.join();
    db_.reset();
  });
}

ledger_stats writer::stats() const {
  ledger_stats s;
  s.operations = operations_;
  s.commits = commits_;
  s.batch_max = batch_max_;
  s.checkpoints = checkpoints_;
  s.refused_edges = refused_edges_;
  s.ballast_held = disk_.ballast_held();
  std::lock_guard lock{mutex_};
  s.queued = queue_.size();
  return s;
}

void writer::loop() {
  for (;;) {
    auto ops = take_batch();
    if (ops.empty()) return;
    execute(ops);
    maintain();
  }
}

// Empty only when the ledger closes and everything accepted has been answered.
writer::batch writer::take_batch() {
  batch ops;
  std::size_t bytes = 0;
  std::unique_lock lock{mutex_};
  wake_.wait(lock, [this] { return closing_ || !queue_.empty(); });
  while (!queue_.empty() && ops.size() < options_.batch_operations_max) {
    const auto next = queue_.front()->bytes();
    if (!ops.empty() && bytes + next > options_.batch_bytes_max) break;
    bytes += next;
    ops.push_back(std::move(queue_.front()));
    queue_.pop_front();
  }
  queued_bytes_ -= bytes;
  return ops;
}

void writer::fail_all(batch& ops, const error& why) {
  for (auto& op : ops) op->fail(why);
}

void writer::execute(batch& ops) {
  error why;
  bool disk_failed = false;
  if (failed_) {
    fail_all(ops, failed_error());
  } else {
    auto end = attempt(ops, why, disk_failed);
    if (end != outcome::committed && why.code == errc::storage_full) disk_.drop_ballast();
    // Rolled back for certain: the room that the ballast left may be enough.
    if (end == outcome::rolled_back && !disk_failed) end = attempt(ops, why, disk_failed);
    if (end == outcome::unknown) fail_all(ops, unknown_error(why.message));
    if (end == outcome::rolled_back) fail_all(ops, disk_failed ? failed_error() : why);
  }
  if (disk_failed) give_up(why);
  operations_ += ops.size();
  batch_max_ = std::max<std::uint64_t>(batch_max_, ops.size());
  for (auto& op : ops) op->answer();
  if (disk_failed) (options_.on_fatal ? options_.on_fatal : leave)(why);
}

// One try at the whole batch. After `unknown`, the transaction may or may not be on the disk.
writer::outcome writer::attempt(batch& ops, error& why, bool& disk_failed) {
  const auto changes_before = db_->total_changes();
  auto end = outcome::rolled_back;
  try {
    db_->run("BEGIN IMMEDIATE");
    transaction t{*db_, disk_, clock_.wall().count(), refused_edges_};
    for (auto& op : ops) run_one(*op, t);
    end = outcome::unknown;
    db_->run("COMMIT");
    if (db_->total_changes() != changes_before) ++commits_;
    return outcome::committed;
  } catch (const sqlite_failure& f) {
    why = rolled_back_error(f);
    disk_failed = f.is_disk_failure();
    if (disk_failed) return end;  // the connection is asked for nothing more
  }
  try {
    if (db_->in_transaction()) db_->run("ROLLBACK");
  } catch (const sqlite_failure& f) {
    why = rolled_back_error(f);
    disk_failed = true;
  }
  return end;
}

// An operation that fails takes back its own writes and nobody else's.
void writer::run_one(operation& op, transaction& t) {
  if (op.writes()) db_->run("SAVEPOINT one");
  try {
    op.execute(t);
  } catch (const sqlite_failure& f) {
    if (f.is_full() || f.is_disk_failure() || !db_->in_transaction()) throw;
    base::log_error("ledger", "an operation failed: {}", f.what());
    op.fail({errc::internal, fmt::format("the ledger refused the operation: {}", f.what())});
  }
  if (!op.writes()) return;
  if (!op.succeeded()) db_->run("ROLLBACK TO one");
  db_->run("RELEASE one");
}

void writer::maintain() {
  if (failed_) return;
  disk_.tend();
  if (db_->log_pages() < options_.checkpoint_pages) return;
  try {
    db_->checkpoint();
    ++checkpoints_;
  } catch (const sqlite_failure& f) {
    if (f.is_full()) disk_.drop_ballast();
    if (!f.is_disk_failure()) {
      base::log_warning("ledger", "checkpoint put off: {}", f.what());
      return;
    }
    const error why{errc::io, fmt::format("checkpoint failed: {}", f.what())};
    give_up(why);
    (options_.on_fatal ? options_.on_fatal : leave)(why);
  }
}

void writer::give_up(const error& why) {
  base::log_error("ledger", "the disk failed: {}", why.message);
  db_->abandon_log();
  std::lock_guard lock{mutex_};
  failed_ = true;
}

}  // namespace dlls::ledger::detail

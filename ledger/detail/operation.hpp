// One queued call of the ledger, and what it works on.
#pragma once
#include <atomic>
#include <cstdint>

#include "base/error.hpp"
#include "ledger/detail/connection.hpp"
#include "ledger/detail/disk_guard.hpp"

namespace dlls::ledger::detail {

// What an operation works on, inside the batch's transaction.
struct transaction {
  connection& db;
  const disk_guard& disk;
  std::int64_t now_ms;
  std::atomic<std::uint64_t>& refused_edges;
};

// One queued call. `execute` may run more than once before the answer (a batch that was rolled back
// is tried again); exactly one `answer` ends it.
class operation {
 public:
  explicit operation(std::size_t bytes, bool writes) : bytes_(bytes), writes_(writes) {}
  virtual ~operation() = default;
  std::size_t bytes() const noexcept { return bytes_; }
  bool writes() const noexcept { return writes_; }
  virtual void execute(transaction& t) = 0;  // may throw sqlite_failure
  virtual bool succeeded() const = 0;
  virtual void fail(const base::error& why) = 0;  // replaces the outcome
  virtual void answer() noexcept = 0;

 private:
  std::size_t bytes_;
  bool writes_;
};

}  // namespace dlls::ledger::detail

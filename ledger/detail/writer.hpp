// Group commit: one thread, one connection, one transaction for whatever has queued up.
//
//   callers --post--> queue --drain--> BEGIN  op op op (a savepoint each)  COMMIT --> answers
//
// While the COMMIT's fsync runs, the next batch gathers; there is no other wait.
#pragma once
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "ledger/detail/connection.hpp"
#include "ledger/detail/disk_guard.hpp"
#include "ledger/detail/operation.hpp"
#include "ledger/records.hpp"
#include "ledger/sqlite_ledger.hpp"

namespace dlls::ledger::detail {

class writer {
 public:
  writer(
      std::unique_ptr<connection> db, const std::filesystem::path& path,
      const sqlite_options& options, const base::clock& clock);
  ~writer();

  // Any thread. A refusal (full, closed, failed) is answered here and now.
  void post(std::unique_ptr<operation> op);
  void close();
  ledger_stats stats() const;
  const disk_guard& disk() const noexcept { return disk_; }

 private:
  using batch = std::vector<std::unique_ptr<operation>>;
  enum class outcome : std::uint8_t { committed, rolled_back, unknown };

  void loop();
  batch take_batch();
  void execute(batch& ops);
  outcome attempt(batch& ops, base::error& why, bool& disk_failed);
  void run_one(operation& op, transaction& t);
  void maintain();
  void give_up(const base::error& why);
  static void fail_all(batch& ops, const base::error& why);

  const sqlite_options options_;
  const base::clock& clock_;
  std::unique_ptr<connection> db_;
  disk_guard disk_;

  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::unique_ptr<operation>> queue_;
  std::size_t queued_bytes_ = 0;
  bool closing_ = false;
  bool failed_ = false;  // the disk failed; nothing is acknowledged any more

  std::atomic<std::uint64_t> operations_ = 0, commits_ = 0, batch_max_ = 0, checkpoints_ = 0;
  std::atomic<std::uint64_t> refused_edges_ = 0;
  std::once_flag closed_;
  std::thread thread_;  // last: everything above is there when it starts
};

}  // namespace dlls::ledger::detail

// The embedded ledger: one SQLite file, one connection, one writer thread.
//
// Durability: WAL with synchronous=FULL; a callback runs only after the COMMIT's fsync. Whatever is
// queued while one fsync runs shares the next (group commit), so throughput does not cost latency.
// Design and figures: docs/decisions/0002-sqlite-ledger.md; tables: docs/schema.md.
//
// A full disk: below `uploads` free, room_for_upload refuses; below `submits`, submit refuses;
// below `ballast`, a reserved file is deleted so that running jobs can still end. It is made again
// when space returns. A failing disk (any I/O error, a corrupt page): nothing more is acknowledged,
// everything waiting is answered `unavailable`, and on_fatal is called once.
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "base/clock.hpp"
#include "base/file.hpp"
#include "ledger/ledger.hpp"

namespace dlls::ledger {

// Reached when fewer bytes are free than `percent` of the disk, or `bytes_max` if that is less (a
// tenth of a large disk is plenty).
struct watermark {
  unsigned percent;
  std::uint64_t bytes_max;
  constexpr watermark(unsigned p, std::uint64_t b) : percent(p), bytes_max(b) {}
};

struct sqlite_options {
  // Group commit: no batch is larger than either.
  std::size_t batch_operations_max = 256;
  std::size_t batch_bytes_max = 2u << 20;
  // Accepted and not yet answered; past either, resource_exhausted.
  std::size_t queue_operations_max = 8192;
  std::size_t queue_bytes_max = 8u << 20;
  int cache_kib = 1024;         // SQLite's page cache
  int checkpoint_pages = 1000;  // of 4 KiB: the log's length that triggers a checkpoint

  watermark uploads{20, 4ull << 30};
  watermark submits{10, 1ull << 30};
  watermark ballast{3, 256ull << 20};
  std::uint64_t ballast_bytes = 64ull << 20;  // at most 1 % of the disk; 0: none
  // How much is free where the ledger lies; tests put their own here. Called on any thread.
  std::function<base::result<base::disk_space>(const std::filesystem::path&)> space =
      base::space_at;

  // The disk failed: leave the process. Once, on the writer thread; the default logs and aborts.
  std::function<void(const base::error&)> on_fatal;
  // Tests only: a registered SQLite VFS; and "NORMAL", to prove that the crash test notices.
  std::string vfs;
  std::string synchronous = "FULL";

  sqlite_options() = default;
};

class sqlite_ledger {
 public:
  // Opens or creates the file (0600; the folder must exist) and checks it. `clock` must outlive the
  // ledger. Errors: failed_precondition (another process has it open), version_mismatch (written by
  // a newer program), corrupt (not a ledger, or damaged), io, storage_full, not_found.
  static base::result<std::unique_ptr<ledger>> open(
      const std::filesystem::path& path, sqlite_options options, const base::clock& clock);
};

}  // namespace dlls::ledger

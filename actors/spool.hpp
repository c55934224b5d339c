// The node's memory of the jobs it has acknowledged: one folder a job, one small JSON file in it
// that is replaced durably at every change, and a work folder for checkpoints. docs/formats.md
// describes it.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "actors/messages.hpp"
#include "base/error.hpp"

namespace dlls::actors {

struct spool_entry {
  offer order;
  std::uint64_t place = 0;  // rises with every acknowledgement: jobs are worked off in this order
  held_state state = held_state::accepted;
  manifest result;  // when sealed
  base::error why;  // when failed
};

// Stateless but for its folder. Entries of different jobs may be written from different threads;
// one job belongs to one thread at a time.
class spool {
 public:
  // Creates the folder when missing.
  static base::result<spool> open(std::filesystem::path folder);

  // Every readable entry. One that cannot be read is moved aside (`ID.broken`), logged and left
  // out: its job is then not held, and the coordinator grants it anew. A folder without an entry is
  // removed: call it before the first store.
  base::result<std::vector<spool_entry>> load() const;

  // After success the entry survives a power cut. storage_full, io.
  base::result<> store(const spool_entry& entry) const;

  // Entry and work folder. Removing what is not there is success.
  base::result<> remove(const std::string& job_id) const;

  // Where a run keeps its checkpoints; a name that no other fence shares. Created when missing.
  base::result<std::filesystem::path> work_folder(const job_ref& job) const;

 private:
  explicit spool(std::filesystem::path folder) : folder_(std::move(folder)) {}
  std::filesystem::path folder_;
};

// Whether `id` may become a folder's name: letters, digits, '-' and '_', 1 to 64 of them.
bool is_safe_id(const std::string& id) noexcept;

}  // namespace dlls::actors

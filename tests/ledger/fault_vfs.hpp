// A disk that lies on request: an SQLite VFS over the real one that records what is written and
// synced, or fails the Nth operation. And the images that a power cut could leave of the record.
#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/random.hpp"

namespace dlls::ledger {

// One thing that happened to the disk, or a promise that was made to a client at that moment.
struct disk_event {
  enum class kind : std::uint8_t { write, truncate, sync, remove, promise };
  kind what = kind::write;
  std::string file;          // the last part of its path; a promise's text
  std::uint64_t offset = 0;  // of a write; the size of a truncate
  std::string bytes;
};

enum class disk_fault : std::uint8_t { no_space, io_error };

// Registered under name() while it lives; thread-safe.
class fault_vfs {
 public:
  fault_vfs();
  ~fault_vfs();
  fault_vfs(const fault_vfs&) = delete;
  fault_vfs& operator=(const fault_vfs&) = delete;

  const std::string& name() const;
  // Notes that the client was told so, at this place of the record.
  void promise(const std::string& text);
  std::vector<disk_event> record() const;

  // The operation with this number (from 1, over everything that changes the disk) fails; sticky:
  // and all after it. Starts to count anew. No space fails writes only.
  void fail_at(std::uint64_t number, disk_fault fault, bool sticky);
  void heal();
  std::uint64_t operations() const;
  bool has_failed() const;

  struct state;

 private:
  std::unique_ptr<state> state_;
};

// What of the unsynced writes the cut leaves.
enum class cut : std::uint8_t { none, all, some, torn_prefix, torn_sectors, suffix };
inline constexpr cut all_cuts[] = {cut::none,        cut::all,          cut::some,
                                   cut::torn_prefix, cut::torn_sectors, cut::suffix};

// Follows a record and writes the images that a cut at its present place could leave. The model:
// synced content stays; of what came after, any part may be there, in any order, torn at 512 bytes;
// a removed file may come back unless its folder was synced.
class power_cut_model {
 public:
  // `lying`: syncs do nothing (to prove that the checker sees a loss).
  explicit power_cut_model(bool lying = false) : lying_(lying) {}
  void follow(const disk_event& e);
  void write_image(const std::filesystem::path& folder, cut how, base::random_source& random) const;

 private:
  struct file_state {
    std::optional<std::string> durable;  // nothing: it does not exist yet
    std::vector<disk_event> pending;
  };
  static void apply(std::string& content, const disk_event& e);
  static std::string after_cut(const file_state& f, cut how, base::random_source& random);
  bool lying_;
  std::map<std::string, file_state> files_;
};

}  // namespace dlls::ledger

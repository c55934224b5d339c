// The models a node can serve: GGUF files in one folder. A file that somebody put there is served
// under its stem; one that a job made has a note beside it (NAME.json) with the name that requests
// use.
#pragma once
#include <cstdint>
#include <filesystem>
#include <mutex>
#include <string>
#include <vector>

#include "base/error.hpp"

namespace dlls::actors {

// What tells a file from another under its name, and from itself before it was written to. All
// zeros: there is no file. Nanoseconds as fine as the file system's clock.
struct file_mark {
  std::uint64_t device = 0, inode = 0, bytes = 0;
  std::int64_t changed_ns = 0;  // status change: unlike the time of writing, nobody sets it back
  bool operator==(const file_mark&) const = default;
};

struct stored_model {
  std::string name;            // what requests say: "smollm2-135m-instruct", "ft:...:..."
  std::filesystem::path path;  // of the GGUF
  std::uint64_t bytes = 0;
  std::uint32_t context = 0;  // tokens, from the file's metadata
  std::int64_t created = 0;   // Unix seconds
  std::string job;            // the job that made it; empty for a file put there by hand
  file_mark mark;             // of the file that was read
};

// Thread-safe.
class model_store {
 public:
  // Creates the folder when missing and reads what is there; files that are no GGUF are logged and
  // left out.
  static base::result<std::unique_ptr<model_store>> open(std::filesystem::path folder);

  // Sorted by name.
  std::vector<stored_model> list() const;
  // As its file is now: one that was replaced, written to or deleted since is read anew. not_found,
  // with a hint that lists what there is; corrupt, unsupported or io of a file that was replaced.
  base::result<stored_model> find(const std::string& name);

  // Takes the finished file in by renaming it into the folder: both must lie on one file system.
  // Adding the model of a job again replaces it (a job that ran twice has one model). storage_full,
  // io, corrupt.
  base::result<stored_model> add(
      const std::string& name, const std::string& job, const std::filesystem::path& finished);

  // Takes back what add() took in for this job. Success when there is no such model, or another job
  // made it. io.
  base::result<> remove(const std::string& name, const std::string& job);

  // Sees files that were put into the folder since. Cheap: one directory listing.
  void refresh();

  const std::filesystem::path& folder() const noexcept { return folder_; }

 private:
  explicit model_store(std::filesystem::path folder) : folder_(std::move(folder)) {}
  base::result<stored_model> read(const std::filesystem::path& gguf) const;
  base::error no_such(const std::string& name) const;

  std::filesystem::path folder_;
  mutable std::mutex mutex_;
  std::vector<stored_model> models_;  // sorted by name
};

}  // namespace dlls::actors

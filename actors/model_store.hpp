// The models a node can serve: GGUF files in one folder. A file that somebody put there is served
// under its stem; one that a job made has a note beside it (NAME.json) with the name that requests
// use.
#pragma once
#include <cstdint>
#include <filesystem>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/error.hpp"

namespace dlls::actors {

struct stored_model {
  std::string name;            // what requests say: "smollm2-135m-instruct", "ft:...:..."
  std::filesystem::path path;  // of the GGUF
  std::uint64_t bytes = 0;
  std::uint32_t context = 0;  // tokens, from the file's metadata
  std::int64_t created = 0;   // Unix seconds
  std::string job;            // the job that made it; empty for a file put there by hand
};

// Thread-safe.
class model_store {
 public:
  // Creates the folder when missing and reads what is there; files that are no GGUF are logged and
  // left out.
  static base::result<std::unique_ptr<model_store>> open(std::filesystem::path folder);

  // Sorted by name.
  std::vector<stored_model> list() const;
  // not_found, with a hint that lists what there is.
  base::result<stored_model> find(const std::string& name) const;

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
  std::optional<stored_model> read(const std::filesystem::path& gguf) const;

  std::filesystem::path folder_;
  mutable std::mutex mutex_;
  std::vector<stored_model> models_;  // sorted by name
};

}  // namespace dlls::actors

// Checkpoints of a training run that survive power cuts, full disks and broken files.
//
// A folder holds step-NNNNNNNNNNNN/ folders (the newest two) and LATEST, which names the newest.
// Each holds one file an array, little-endian as in memory, and `manifest`: a line of JSON
//   {"format":1,"identity":{...},"progress":{...},"files":[{"name","bytes","sha256"},...]}
// and a line with that line's SHA-256. Writing: a .tmp folder, its files synced, the manifest last,
// the folder synced, renamed, the parent synced, LATEST replaced the same way. So a folder without
// .tmp was complete once; what has rotted since is found by the checksums, and the one before is
// taken instead.
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/error.hpp"

namespace dlls::model {

// What a run is a run of. The first three must be equal to continue; with another instruction set
// or thread count a run continues too, but not to the same bits (logged).
struct training_identity {
  std::string spec_sha256;
  std::string dataset_sha256;
  std::string base_sha256;
  std::string instruction_set;
  std::uint64_t threads = 0;
};

// Where it stands, apart from the arrays. Everything random follows from the seed and the step.
struct training_progress {
  std::uint64_t step = 0;  // done
  std::uint64_t tokens_seen = 0;
  double epoch_loss_sum = 0;  // over the counted targets of this epoch so far
  std::uint64_t epoch_targets = 0;
  bool finished = false;  // target_loss reached
};

// One array of the state, by name; the bytes are the caller's.
struct checkpoint_array {
  std::string name;  // a file name
  std::span<std::byte> bytes;
};

// Owns the folder while it lives: one process and one thread at a time.
class checkpoint_store {
 public:
  // Creates the folder when absent and clears what an interrupted write left.
  static base::result<checkpoint_store> open(
      std::filesystem::path folder, training_identity identity);

  // Fills the arrays from the newest checkpoint that verifies. nullopt when there is none; the
  // arrays may then hold anything. Broken ones are logged and passed over.
  // failed_precondition: it belongs to another spec, data set or base model.
  base::result<std::optional<training_progress>> load(std::span<const checkpoint_array> arrays);

  // storage_full (also when the free space would not do) and io leave earlier checkpoints alone.
  base::result<> save(const training_progress& progress, std::span<const checkpoint_array> arrays);

  static constexpr std::size_t kept = 2;

 private:
  checkpoint_store(std::filesystem::path folder, training_identity identity)
      : folder_(std::move(folder)), identity_(std::move(identity)) {}
  base::result<training_progress> load_one(
      const std::filesystem::path& from, std::span<const checkpoint_array> arrays) const;
  std::vector<std::filesystem::path> newest_first() const;
  void prune() const;

  std::filesystem::path folder_;
  training_identity identity_;
  std::optional<std::uint64_t> saved_step_;
};

}  // namespace dlls::model

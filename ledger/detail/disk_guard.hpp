// Watches the disk under the ledger: refuses new work while there is still room to finish the old.
#pragma once
#include <atomic>
#include <filesystem>

#include "base/error.hpp"
#include "ledger/sqlite_ledger.hpp"

namespace dlls::ledger::detail {

class disk_guard {
 public:
  disk_guard(const std::filesystem::path& ledger, const sqlite_options& options);

  // Any thread. storage_full, or the error of the question itself: an unknown disk is a full one.
  base::result<> admit_upload(std::uint64_t bytes) const;
  base::result<> admit_submit() const;

  // Writer thread. Deletes the ballast when nearly nothing is left, makes it when there is plenty.
  void tend();
  void drop_ballast();
  bool ballast_held() const noexcept { return held_; }

 private:
  base::result<> admit(const watermark& mark, std::uint64_t bytes, const char* what) const;
  void make_ballast(std::uint64_t bytes);

  std::filesystem::path folder_;
  std::filesystem::path ballast_;
  watermark uploads_, submits_, nearly_nothing_;
  std::uint64_t ballast_bytes_;
  std::function<base::result<base::disk_space>(const std::filesystem::path&)> space_;
  std::atomic<bool> held_ = false;
};

}  // namespace dlls::ledger::detail

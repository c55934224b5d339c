// Files that survive a power cut: written beside, synced, renamed, and the folder synced.
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include "base/error.hpp"

namespace dlls::base {

// Owns a descriptor; closes it.
class unique_fd {
 public:
  unique_fd() = default;
  explicit unique_fd(int fd) noexcept : fd_(fd) {}
  unique_fd(unique_fd&& other) noexcept : fd_(other.release()) {}
  unique_fd& operator=(unique_fd&& other) noexcept;
  ~unique_fd();
  int get() const noexcept { return fd_; }
  int release() noexcept;
  explicit operator bool() const noexcept { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

// The whole file; resource_exhausted when it is larger than `bytes_max`.
result<std::string> read_file(const std::filesystem::path& path, std::size_t bytes_max = 64u << 20);

// Replaces `path` as one step: after success the new content survives a power cut, after a failure
// or a crash the old one is still there. `mode` as for open(2); 0600 for keys and tokens.
result<> write_file_durably(
    const std::filesystem::path& path, std::string_view content, unsigned mode = 0644);

// Renames and syncs both folders. `from`'s content must have been synced already.
result<> rename_durably(const std::filesystem::path& from, const std::filesystem::path& to);
result<> sync_file(int fd, const std::filesystem::path& named);
result<> sync_folder(const std::filesystem::path& folder);

// pread/pwrite until done. `read_at` gives fewer bytes only at the end of the file.
result<std::size_t> read_at(int fd, std::uint64_t offset, std::span<std::byte> into);
result<> write_at(int fd, std::uint64_t offset, std::span<const std::byte> bytes);

// Creates the folder and its parents, 0700.
result<> make_folder(const std::filesystem::path& folder);

// Makes the folder this process's own while the descriptor is open; failed_precondition when
// another process has it. The lock goes with the process, however it ends.
result<unique_fd> lock_folder(const std::filesystem::path& folder);

struct disk_space {
  std::uint64_t bytes_free = 0;  // to a process without privileges
  std::uint64_t bytes_total = 0;
};
result<disk_space> space_at(const std::filesystem::path& path);

}  // namespace dlls::base

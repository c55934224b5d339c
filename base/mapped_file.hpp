// A file mapped for reading that may be cut or fail under its reader. The kernel then raises SIGBUS
// at the first byte that is gone; here that byte and all behind it read as zeros from then on, and
// the file says `damaged`, instead of the process ending with everything else it does.
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>

#include "base/error.hpp"
#include "base/file.hpp"

namespace dlls::base {

// The mapping, owned. Any thread may read its bytes. Whoever computes something from them asks
// `damaged` afterwards: false means that all bytes read so far were the file's, and that nobody has
// written to it since it was opened. A file renamed over it is another file, and harmless.
class mapped_file {
 public:
  // Regular files only, and not empty. not_found, permission_denied, io; invalid_argument (no
  // regular file), corrupt (empty), resource_exhausted (mapped_files_max at a time).
  //
  // The first call installs a handler of SIGBUS for the process; a fault anywhere else goes to the
  // handler that was there before.
  static result<mapped_file> open(const std::filesystem::path& path);
  static constexpr std::size_t mapped_files_max = 256;

  mapped_file() = default;
  mapped_file(mapped_file&& other) noexcept;
  mapped_file& operator=(mapped_file&& other) noexcept;
  ~mapped_file();

  std::span<const std::byte> bytes() const noexcept { return bytes_; }
  bool damaged() const noexcept;  // one system call

 private:
  std::span<const std::byte> bytes_;
  unique_fd fd_;
  std::int64_t written_ns_ = 0;  // the file's time of change at the start
  std::size_t slot_ = 0;         // of the handler's table
};

}  // namespace dlls::base

#include "base/file.hpp"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace dlls::base {
namespace fs = std::filesystem;

unique_fd& unique_fd::operator=(unique_fd&& other) noexcept {
  if (this != &other) {
    if (fd_ >= 0) ::close(fd_);
    fd_ = other.release();
  }
  return *this;
}
unique_fd::~unique_fd() {
  if (fd_ >= 0) ::close(fd_);
}
int unique_fd::release() noexcept { return std::exchange(fd_, -1); }

result<std::string> read_file(const fs::path& path, std::size_t bytes_max) {
  unique_fd fd{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (!fd) return errno_error("open " + path.string());
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0) return errno_error("stat " + path.string());
  if (S_ISDIR(info.st_mode)) return error{errc::invalid_argument, path.string() + " is a folder"};
  if (static_cast<std::uint64_t>(info.st_size) > bytes_max)
    return error{
        errc::resource_exhausted,
        fmt::format(
            "{} has {} bytes, at most {} are read", path.string(), info.st_size, bytes_max)};
  std::string content;
  char buffer[1 << 16];
  for (;;) {  // not st_size: pipes and /proc have none
    const auto got = ::read(fd.get(), buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return errno_error("read " + path.string());
    if (got == 0) return content;
    content.append(buffer, static_cast<std::size_t>(got));
    if (content.size() > bytes_max)
      return error{errc::resource_exhausted, path.string() + " grew past what is read"};
  }
}

result<> write_file_durably(const fs::path& path, std::string_view content, unsigned mode) {
  auto beside = path;
  beside += fmt::format(".tmp-{}", ::getpid());
  {
    unique_fd fd{::open(beside.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode)};
    if (!fd) return errno_error("create " + beside.string());
    auto done = write_at(fd.get(), 0, std::as_bytes(std::span{content}));
    if (done) done = sync_file(fd.get(), beside);
    if (!done) {
      ::unlink(beside.c_str());
      return done;
    }
  }
  return rename_durably(beside, path);
}

result<> rename_durably(const fs::path& from, const fs::path& to) {
  if (::rename(from.c_str(), to.c_str()) != 0)
    return errno_error(fmt::format("rename {} to {}", from.string(), to.string()));
  auto done = sync_folder(to.parent_path());
  if (done && from.parent_path() != to.parent_path()) done = sync_folder(from.parent_path());
  return done;
}

result<> sync_file(int fd, const fs::path& named) {
  if (::fsync(fd) != 0) return errno_error("fsync " + named.string());
  return {};
}

result<> sync_folder(const fs::path& folder) {
  const auto path = folder.empty() ? fs::path{"."} : folder;
  unique_fd fd{::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  if (!fd) return errno_error("open folder " + path.string());
  return sync_file(fd.get(), path);
}

result<std::size_t> read_at(int fd, std::uint64_t offset, std::span<std::byte> into) {
  std::size_t done = 0;
  while (done < into.size()) {
    const auto got =
        ::pread(fd, into.data() + done, into.size() - done, static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return errno_error("read");
    if (got == 0) break;
    done += static_cast<std::size_t>(got);
  }
  return done;
}

result<> write_at(int fd, std::uint64_t offset, std::span<const std::byte> bytes) {
  std::size_t done = 0;
  while (done < bytes.size()) {
    const auto put =
        ::pwrite(fd, bytes.data() + done, bytes.size() - done, static_cast<off_t>(offset + done));
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return errno_error("write");
    done += static_cast<std::size_t>(put);
  }
  return {};
}

result<> make_folder(const fs::path& folder) {
  std::error_code failed;
  const bool made = fs::create_directories(folder, failed);
  if (failed)
    return error{errc::io, fmt::format("create {}: {}", folder.string(), failed.message())};
  if (made) fs::permissions(folder, fs::perms::owner_all, failed);
  return {};
}

result<unique_fd> lock_folder(const fs::path& folder) {
  const auto path = folder / "lock";
  unique_fd fd{::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600)};
  if (!fd) return errno_error("open " + path.string());
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) == 0) return fd;
  if (errno != EWOULDBLOCK) return errno_error("lock " + path.string());
  return error{
      errc::failed_precondition, fmt::format("another process is working in {}", folder.string()),
      "stop it first, or give this one a folder of its own"};
}

result<disk_space> space_at(const fs::path& path) {
  struct statvfs info {};
  if (::statvfs(path.c_str(), &info) != 0) return errno_error("statvfs " + path.string());
  return disk_space{
      static_cast<std::uint64_t>(info.f_bavail) * info.f_frsize,
      static_cast<std::uint64_t>(info.f_blocks) * info.f_frsize};
}

}  // namespace dlls::base

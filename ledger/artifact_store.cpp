#include "ledger/artifact_store.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <set>
#include <system_error>
#include <utility>

#include "base/encoding.hpp"
#include "base/log.hpp"
#include "base/random.hpp"

namespace dlls::ledger {

namespace fs = std::filesystem;
using base::errc;
using base::error;
using base::is_sha256;
using base::result;

namespace {

constexpr std::size_t piece_bytes = 256u << 10;  // read at once when a file is hashed
constexpr std::string_view nameless = "new-";

result<> check_name(std::string_view sha256) {
  if (is_sha256(sha256)) return {};
  return error{errc::invalid_argument, "an artifact's name is 64 lower-case hexadecimal digits"};
}

result<std::uint64_t> size_of(int fd, const fs::path& named) {
  struct stat info {};
  if (::fstat(fd, &info) != 0) return base::errno_error("stat " + named.string());
  return static_cast<std::uint64_t>(info.st_size);
}

// True when the path still names the open file, and not one that was renamed or replaced.
bool still_names(const fs::path& path, int fd) {
  struct stat by_name {
  }, by_fd{};
  return ::stat(path.c_str(), &by_name) == 0 && ::fstat(fd, &by_fd) == 0 &&
         by_name.st_ino == by_fd.st_ino && by_name.st_dev == by_fd.st_dev;
}

// A part file that no other writer has. The lock dies with the descriptor.
result<base::unique_fd> open_part(const fs::path& part) {
  for (;;) {
    base::unique_fd fd{::open(part.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600)};
    if (!fd) return base::errno_error("open " + part.string());
    if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
      if (errno != EWOULDBLOCK) return base::errno_error("lock " + part.string());
      return error{
          errc::failed_precondition, "another transfer of this artifact is running",
          "wait until it ends, then ask again"};
    }
    if (still_names(part, fd.get())) return fd;  // else it was sealed or removed in between
  }
}

// Keeps the room without changing the size. A file system that can't reserve is asked how much is
// free.
result<> reserve(int fd, std::uint64_t bytes, const fs::path& named) {
  if (bytes == 0) return {};
  if (::fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, static_cast<off_t>(bytes)) == 0) return {};
  if (errno != EOPNOTSUPP && errno != ENOSYS)
    return base::errno_error("reserve space for " + named.string());
  auto space = base::space_at(named);
  if (!space) return space.error();
  if (space->bytes_free >= bytes) return {};
  return error{
      errc::storage_full,
      fmt::format("an artifact of {} bytes does not fit: {} are free", bytes, space->bytes_free)};
}

// Feeds the first `bytes` of the file to the hash.
result<> hash_file(int fd, std::uint64_t bytes, base::sha256& into) {
  std::vector<std::byte> piece(piece_bytes);
  for (std::uint64_t at = 0; at < bytes;) {
    const auto want = std::min<std::uint64_t>(piece.size(), bytes - at);
    auto got = base::read_at(fd, at, std::span{piece}.first(static_cast<std::size_t>(want)));
    if (!got) return got.error();
    if (*got == 0) return error{errc::io, "the file became shorter while it was read"};
    into.update(std::span{piece}.first(*got));
    at += *got;
  }
  return {};
}

// Gives back what was reserved past the end, and the blob its name.
result<> seal_file(int fd, std::uint64_t bytes, const fs::path& from, const fs::path& to) {
  if (::ftruncate(fd, static_cast<off_t>(bytes)) != 0)
    return base::errno_error("truncate " + from.string());
  if (auto done = base::sync_file(fd, from); !done) return done;
  if (auto done = base::rename_durably(from, to); !done) return done;
  if (::fchmod(fd, 0400) != 0) return base::errno_error("chmod " + to.string());
  return {};
}

std::string part_name(const expectation& what) {
  return what.sha256 ? *what.sha256 : base::random_id(nameless);
}

}  // namespace

// artifact_reader -------------------------------------------------------------------------------

result<std::size_t> artifact_reader::read_at(
    std::uint64_t offset, std::span<std::byte> into) const {
  if (offset >= bytes_) return std::size_t{0};
  const auto want = std::min<std::uint64_t>(into.size(), bytes_ - offset);
  return base::read_at(fd_.get(), offset, into.first(static_cast<std::size_t>(want)));
}

// artifact_writer -------------------------------------------------------------------------------

artifact_writer::artifact_writer(
    base::unique_fd fd, fs::path part, fs::path blobs, expectation what)
    : fd_(std::move(fd)),
      part_(std::move(part)),
      blobs_(std::move(blobs)),
      what_(std::move(what)) {}

artifact_writer::~artifact_writer() {
  if (fd_ && !what_.sha256) discard();
}

// Takes up what an earlier writer left. A part longer than declared belongs to no honest transfer.
result<> artifact_writer::resume() {
  auto held = size_of(fd_.get(), part_);
  if (!held) return held.error();
  if (*held > what_.bytes.value_or(what_.bytes_max)) {
    if (::ftruncate(fd_.get(), 0) != 0) return base::errno_error("truncate " + part_.string());
    *held = 0;
  }
  if (auto done = hash_file(fd_.get(), *held, hash_); !done) return done;
  size_ = *held;
  return {};
}

result<> artifact_writer::write_at(std::uint64_t offset, std::span<const std::byte> bytes) {
  if (!fd_) return error{errc::failed_precondition, "this transfer has ended"};
  if (offset > size_)
    return error{
        errc::invalid_argument, fmt::format("offset {} is past the next one, {}", offset, size_)};
  const auto end_max = what_.bytes.value_or(what_.bytes_max);
  if (offset > end_max || bytes.size() > end_max - offset)
    return error{
        errc::invalid_argument, fmt::format("the artifact may have {} bytes, not more", end_max)};
  const auto held = size_ - offset;
  if (held >= bytes.size()) return {};
  const auto fresh = bytes.subspan(static_cast<std::size_t>(held));
  if (auto done = base::write_at(fd_.get(), size_, fresh); !done) return done;
  hash_.update(fresh);
  size_ += fresh.size();
  return {};
}

result<artifact> artifact_writer::seal() {
  if (!fd_) return error{errc::failed_precondition, "this transfer has ended"};
  if (what_.bytes && size_ != *what_.bytes)
    return error{
        errc::failed_precondition, fmt::format("{} of {} bytes are here", size_, *what_.bytes)};
  const auto fd = std::move(fd_);  // held, and with it the lock, until the blob has its name
  const auto sum = base::to_hex(hash_.finish());
  if (what_.sha256 && sum != *what_.sha256) {
    ::unlink(part_.c_str());
    return error{
        errc::corrupt, fmt::format("the bytes have SHA-256 {}, not {}", sum, *what_.sha256),
        "transfer the artifact again from its beginning"};
  }
  if (auto done = seal_file(fd.get(), size_, part_, blobs_ / sum); !done) {
    if (!what_.sha256) ::unlink(part_.c_str());
    return done.error();
  }
  return artifact{sum, size_};
}

void artifact_writer::discard() noexcept {
  if (!fd_) return;
  ::unlink(part_.c_str());  // under the lock: nobody else can have taken the part up
  fd_ = {};
}

// artifact_store --------------------------------------------------------------------------------

artifact_store::artifact_store(fs::path folder)
    : blobs_(folder / "blobs"), parts_(folder / "parts") {}

result<artifact_store> artifact_store::open(fs::path folder) {
  artifact_store store{std::move(folder)};
  for (const auto& path : {store.blobs_, store.parts_})
    if (auto made = base::make_folder(path); !made) return made.error();
  std::error_code failed;
  for (const auto& entry : fs::directory_iterator(store.parts_, failed)) {
    if (!entry.path().filename().string().starts_with(nameless)) continue;
    if (auto part = open_part(entry.path())) ::unlink(entry.path().c_str());
  }
  if (failed) return error{errc::io, "list " + store.parts_.string() + ": " + failed.message()};
  return store;
}

result<artifact_writer> artifact_store::begin(expectation what) const {
  if (what.bytes && *what.bytes > what.bytes_max)
    return error{
        errc::invalid_argument,
        fmt::format("{} bytes are more than the {} allowed", *what.bytes, what.bytes_max)};
  if (what.sha256) {
    if (auto ok = check_name(*what.sha256); !ok) return ok.error();
    if (contains(*what.sha256))
      return error{errc::already_exists, "artifact " + *what.sha256 + " is here already"};
  }
  const auto part = parts_ / part_name(what);
  auto fd = open_part(part);
  if (!fd) return fd.error();
  const int handle = fd->get();
  artifact_writer writer{std::move(*fd), part, blobs_, std::move(what)};
  if (auto done = writer.resume(); !done) return done.error();
  if (writer.what_.bytes) {
    if (auto done = reserve(handle, *writer.what_.bytes, part); !done) {
      if (writer.size_ == 0) writer.discard();
      return done.error();
    }
  }
  return writer;
}

bool artifact_store::contains(std::string_view sha256) const noexcept {
  std::error_code ignored;
  return is_sha256(sha256) && fs::is_regular_file(blobs_ / sha256, ignored);
}

result<artifact_reader> artifact_store::open_blob(std::string_view sha256) const {
  if (auto ok = check_name(sha256); !ok) return ok.error();
  const auto path = blobs_ / sha256;
  base::unique_fd fd{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW)};
  if (!fd) return base::errno_error(fmt::format("open artifact {}", sha256));
  auto bytes = size_of(fd.get(), path);
  if (!bytes) return bytes.error();
  return artifact_reader{std::move(fd), *bytes};
}

result<fs::path> artifact_store::path_of(std::string_view sha256) const {
  if (auto ok = check_name(sha256); !ok) return ok.error();
  if (!contains(sha256)) return error{errc::not_found, fmt::format("no artifact {}", sha256)};
  return blobs_ / sha256;
}

result<> artifact_store::verify(std::string_view sha256) const {
  auto reader = open_blob(sha256);
  if (!reader) return reader.error();
  base::sha256 hash;
  if (auto done = hash_file(reader->fd_.get(), reader->size(), hash); !done) return done;
  if (const auto sum = base::to_hex(hash.finish()); sum != sha256)
    return error{errc::corrupt, fmt::format("artifact {} now has SHA-256 {}", sha256, sum)};
  return {};
}

result<> artifact_store::remove(std::string_view sha256) const {
  if (auto ok = check_name(sha256); !ok) return ok.error();
  std::size_t gone = 0;
  for (const auto& path : {blobs_ / sha256, parts_ / sha256}) {
    if (::unlink(path.c_str()) == 0) {
      ++gone;
      if (auto done = base::sync_folder(path.parent_path()); !done) return done;
    } else if (errno != ENOENT) {
      return base::errno_error("remove " + path.string());
    }
  }
  if (gone == 0) return error{errc::not_found, fmt::format("no artifact {}", sha256)};
  return {};
}

result<std::vector<artifact>> artifact_store::list() const {
  std::vector<artifact> found;
  std::error_code failed;
  for (const auto& entry : fs::directory_iterator(blobs_, failed)) {
    auto name = entry.path().filename().string();
    std::error_code gone;  // removed since
    const auto bytes = entry.file_size(gone);
    if (is_sha256(name) && !gone) found.emplace_back(std::move(name), bytes);
  }
  if (failed) return error{errc::io, "list " + blobs_.string() + ": " + failed.message()};
  std::ranges::sort(found, {}, &artifact::sha256);
  return found;
}

result<std::vector<std::string>> artifact_store::names(std::chrono::seconds at_rest) const {
  std::set<std::string> found;
  const auto before = fs::file_time_type::clock::now() - at_rest;
  for (const auto& folder : {blobs_, parts_}) {
    std::error_code failed;
    for (const auto& entry : fs::directory_iterator(folder, failed)) {
      std::error_code gone;  // removed since
      const auto written = entry.last_write_time(gone);
      if (!gone && written <= before && is_sha256(entry.path().filename().string()))
        found.insert(entry.path().filename().string());
    }
    if (failed) return error{errc::io, "list " + folder.string() + ": " + failed.message()};
  }
  return std::vector<std::string>(found.begin(), found.end());
}

}  // namespace dlls::ledger

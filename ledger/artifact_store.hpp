// Content-addressed blobs in a folder, for coordinator and node alike. Knows no database.
//
// A blob's name is the SHA-256 of its bytes; a user's file name never becomes part of a path. A
// blob appears under its name only whole, verified and on the disk; until then its bytes are in a
// part file, which survives a restart, so that a transfer goes on where it stopped.
//
//     folder/blobs/<sha256>          sealed, read-only
//     folder/parts/<sha256>          a transfer whose checksum was declared: resumable
//     folder/parts/new-<random>      one whose checksum was not: gone with its writer
//
// The store and its readers may be used from any thread; a writer by one thread at a time. All
// calls block on the disk. Common errors: invalid_argument (not 64 lower-case hexadecimal digits),
// io, storage_full.
#pragma once
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "base/file.hpp"
#include "base/limits.hpp"
#include "base/sha256.hpp"

namespace dlls::ledger {

struct artifact {
  std::string sha256;
  std::uint64_t bytes = 0;

  artifact() = default;
  artifact(std::string s, std::uint64_t b) : sha256(std::move(s)), bytes(b) {}
  friend bool operator==(const artifact&, const artifact&) = default;
};

// What the sender declared. With a size, the space is reserved before the first byte is accepted.
struct expectation {
  std::optional<std::uint64_t> bytes;
  std::optional<std::string> sha256;
  std::uint64_t bytes_max = base::limits::artifact_bytes_max;

  expectation() = default;
  expectation(std::uint64_t b, std::string s) : bytes(b), sha256(std::move(s)) {}
};

class artifact_reader {
 public:
  std::uint64_t size() const noexcept { return bytes_; }
  // Fewer bytes only at the end.
  base::result<std::size_t> read_at(std::uint64_t offset, std::span<std::byte> into) const;

 private:
  friend class artifact_store;
  artifact_reader(base::unique_fd fd, std::uint64_t bytes) : fd_(std::move(fd)), bytes_(bytes) {}
  base::unique_fd fd_;
  std::uint64_t bytes_;
};

// Destroyed unsealed, it leaves a resumable part behind, or nothing.
class artifact_writer {
 public:
  artifact_writer(artifact_writer&&) noexcept = default;
  artifact_writer& operator=(artifact_writer&&) = delete;
  ~artifact_writer();

  // The offset to go on at; above 0 at the start when a part was found.
  std::uint64_t size() const noexcept { return size_; }
  // Bytes that are held already are skipped (a chunk sent twice is harmless). invalid_argument for
  // an offset past size() or bytes past the declared size.
  base::result<> write_at(std::uint64_t offset, std::span<const std::byte> bytes);
  base::result<> append(std::span<const std::byte> bytes) { return write_at(size_, bytes); }
  // Verifies, syncs, and gives the blob its name. Ends the writer. corrupt on another checksum (the
  // part is deleted: begin again from 0); failed_precondition while bytes are missing (the part
  // stays).
  base::result<artifact> seal();
  // Deletes the part.
  void discard() noexcept;

 private:
  friend class artifact_store;
  artifact_writer(
      base::unique_fd fd, std::filesystem::path part, std::filesystem::path blobs,
      expectation what);
  base::result<> resume();

  base::unique_fd fd_;
  std::filesystem::path part_;
  std::filesystem::path blobs_;
  expectation what_;
  base::sha256 hash_;
  std::uint64_t size_ = 0;
};

class artifact_store {
 public:
  // Makes the folders (0700) where they are missing and deletes nameless parts of dead writers.
  static base::result<artifact_store> open(std::filesystem::path folder);

  // already_exists when the blob is there (nothing to transfer); failed_precondition when another
  // writer has this part; storage_full when the declared size does not fit; invalid_argument when
  // it passes bytes_max.
  base::result<artifact_writer> begin(expectation what) const;

  bool contains(std::string_view sha256) const noexcept;
  // not_found
  base::result<artifact_reader> open_blob(std::string_view sha256) const;
  // For mapping a model's file; the blob must not be removed meanwhile.
  base::result<std::filesystem::path> path_of(std::string_view sha256) const;
  // Reads it whole; corrupt when the bytes are not the name's any more.
  base::result<> verify(std::string_view sha256) const;
  // Blob and part; not_found when there was neither.
  base::result<> remove(std::string_view sha256) const;
  // The blobs, by name.
  base::result<std::vector<artifact>> list() const;
  // The names of blobs and resumable parts that nobody has written to for `at_rest`: what a sweep
  // looks at. Twins are named once.
  base::result<std::vector<std::string>> names(std::chrono::seconds at_rest) const;

 private:
  explicit artifact_store(std::filesystem::path folder);
  std::filesystem::path blobs_;
  std::filesystem::path parts_;
};

}  // namespace dlls::ledger

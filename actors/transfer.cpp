#include "actors/transfer.hpp"

#include <fcntl.h>
#include <fmt/core.h>

#include <algorithm>

#include "base/sha256.hpp"

namespace dlls::actors {
using base::errc;
using base::error;
using base::result;

namespace {

std::string raw_sha256(std::string_view bytes) {
  const auto digest = base::sha256_of(std::as_bytes(std::span{bytes}));
  return {reinterpret_cast<const char*>(digest.data()), digest.size()};
}

chunk finish_chunk(std::uint64_t offset, std::string bytes) {
  chunk made;
  made.offset = offset;
  made.sha256 = raw_sha256(bytes);
  made.bytes = std::move(bytes);
  return made;
}

}  // namespace

result<chunk> read_chunk(
    const ledger::artifact_store& store, const std::string& sha256, std::uint64_t offset) {
  auto blob = store.open_blob(sha256);
  if (!blob) return blob.error();
  if (offset >= blob->size())
    return error{errc::invalid_argument, "a chunk past the artifact's end"};
  std::string bytes(base::limits::chunk_bytes, '\0');
  auto got = blob->read_at(offset, std::as_writable_bytes(std::span{bytes}));
  if (!got) return got.error();
  bytes.resize(*got);
  return finish_chunk(offset, std::move(bytes));
}

result<chunk> read_file_chunk(const std::filesystem::path& path, std::uint64_t offset) {
  const base::unique_fd fd{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (!fd) return base::errno_error("open " + path.string());
  std::string bytes(base::limits::chunk_bytes, '\0');
  auto got = base::read_at(fd.get(), offset, std::as_writable_bytes(std::span{bytes}));
  if (!got) return got.error();
  if (*got == 0) return error{errc::invalid_argument, "a chunk past the artifact's end"};
  bytes.resize(*got);
  return finish_chunk(offset, std::move(bytes));
}

result<> verify_chunk(const chunk& got, std::uint64_t offset, std::uint64_t bytes_total) {
  const auto wanted = std::min<std::uint64_t>(base::limits::chunk_bytes, bytes_total - offset);
  if (got.offset != offset || got.bytes.size() != wanted)
    return error{errc::corrupt, "a chunk that was not asked for"};
  if (raw_sha256(got.bytes) != got.sha256)
    return error{errc::corrupt, fmt::format("the chunk at {} fails its checksum", offset)};
  return {};
}

namespace detail {
namespace {

// A part or folder that vanished here says nothing about the other side.
error of_own_disk(error why) {
  if (why.code == errc::not_found) why.code = errc::io;
  return why;
}

}  // namespace

result<std::optional<std::uint64_t>> begin_transfer(transfer_state& state) {
  const auto& what = state.what;
  if (!base::is_sha256(what.sha256)) return error{errc::invalid_argument, "not a SHA-256"};
  if (state.store->contains(what.sha256)) return std::optional<std::uint64_t>{};
  auto writer = state.store->begin(ledger::expectation{what.bytes, what.sha256});
  if (!writer) {
    if (writer.error().code == errc::already_exists) return std::optional<std::uint64_t>{};
    return of_own_disk(writer.error());
  }
  state.writer.emplace(std::move(*writer));
  return std::optional{state.writer->size()};
}

result<> write_chunk(transfer_state& state, const chunk& got, std::uint64_t offset) {
  if (auto good = verify_chunk(got, offset, state.what.bytes); !good) return good.error();
  auto written = state.writer->write_at(offset, std::as_bytes(std::span{got.bytes}));
  return written ? result<>{} : of_own_disk(written.error());
}

result<> end_transfer(transfer_state& state) {
  auto sealed = state.writer->seal();
  state.writer.reset();
  if (!sealed) return of_own_disk(sealed.error());
  return {};
}

}  // namespace detail
}  // namespace dlls::actors

// Moving one artifact over the link: a stream of chunks, each checked, the whole checked at the
// end, resumable after any interruption. Both directions use it.
#pragma once
#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "actors/messages.hpp"
#include "base/error.hpp"
#include "ledger/artifact_store.hpp"
#include "runtime/offload.hpp"
#include "runtime/subscribe.hpp"
#include "runtime/task.hpp"

namespace dlls::actors {

// Chunks under way: 512 KiB cover a line of 20 Mbit/s at 200 ms.
inline constexpr std::uint32_t transfer_window = 8;
// Two jobs may name the same content: the second transfer looks this often whether the first has
// ended, for ten minutes in all.
inline constexpr auto transfer_wait = std::chrono::milliseconds{100};
inline constexpr int transfer_waits_max = 6000;

// Subscribes to the chunks from `offset` on, with transfer_window.
using chunks = runtime::subscription<chunk>;
using open_chunks = std::function<base::result<chunks>(std::uint64_t offset)>;

// Fetches `what` into the store; success at once when it is there. The owner is the actor that
// awaits it. corrupt: a chunk fails its checksum (the part stays: the next try goes on behind the
// last good chunk), or the whole does (the part is deleted). not_found comes from the other side
// alone, as do other errors of its, and leaves the part for the next try; the own disk's are io.
template <class Actor>
runtime::task<base::result<>> fetch_artifact(
    Actor* self, std::shared_ptr<ledger::artifact_store> store,
    std::shared_ptr<runtime::worker_pool> disk, artifact_ref what, open_chunks open);

// The chunk of a blob at `offset`, with its own checksum.
base::result<chunk> read_chunk(
    const ledger::artifact_store& store, const std::string& sha256, std::uint64_t offset);
// The same of any file.
base::result<chunk> read_file_chunk(const std::filesystem::path& path, std::uint64_t offset);

// corrupt unless the chunk is the one at `offset` and its checksum holds.
base::result<> verify_chunk(const chunk& got, std::uint64_t offset, std::uint64_t bytes_total);

namespace detail {

// Where a transfer stands; shared with the disk thread.
struct transfer_state {
  artifact_ref what;
  std::shared_ptr<ledger::artifact_store> store;
  std::optional<ledger::artifact_writer> writer;
};
// The offset to go on at, or nothing to do (already there).
base::result<std::optional<std::uint64_t>> begin_transfer(transfer_state& state);
// Checks it and writes it.
base::result<> write_chunk(transfer_state& state, const chunk& got, std::uint64_t offset);
base::result<> end_transfer(transfer_state& state);

}  // namespace detail
}  // namespace dlls::actors

#include "actors/transfer_impl.hpp"

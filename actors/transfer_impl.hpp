// The coroutine of transfer.hpp; included from there.
#pragma once
#include <algorithm>

#include "runtime/gather.hpp"
#include "runtime/sleep.hpp"

namespace dlls::actors {

template <class Actor>
runtime::task<base::result<>> fetch_artifact(
    Actor* self, std::shared_ptr<ledger::artifact_store> store,
    std::shared_ptr<runtime::worker_pool> disk, artifact_ref what, ask_chunk ask) {
  auto state = std::make_shared<detail::transfer_state>();
  state->what = what;
  state->store = store;
  auto begin = [state] { return detail::begin_transfer(*state); };
  auto begun = co_await runtime::offload(self, *disk, begin);
  // Another transfer of the same content: it ends, or the blob is there.
  for (int waits = 0; waits < transfer_waits_max && !begun; ++waits) {
    if (begun.error().code != base::errc::failed_precondition) break;
    co_await runtime::sleep(self, transfer_wait);
    begun = co_await runtime::offload(self, *disk, begin);
  }
  if (!begun) co_return begun.error();
  if (!*begun) co_return base::result<>{};
  auto offset = **begun;
  constexpr std::uint64_t step = base::limits::chunk_bytes;
  while (offset < what.bytes) {
    std::vector<runtime::task<base::result<chunk>>> window;
    for (auto at = offset; at < what.bytes && window.size() < transfer_credit; at += step)
      window.push_back(ask(at, static_cast<std::uint32_t>(std::min(step, what.bytes - at))));
    auto answers = co_await runtime::gather(std::move(window));
    auto chunks = std::make_shared<std::vector<chunk>>();
    for (auto& answer : answers) {
      if (!answer) co_return answer.error();
      const auto wanted = static_cast<std::uint32_t>(std::min(step, what.bytes - offset));
      auto good = verify_chunk(*answer, offset, wanted, what.bytes);
      if (!good) co_return good.error();
      offset += answer->bytes.size();
      chunks->push_back(std::move(*answer));
    }
    auto write = [state, chunks] { return detail::write_chunks(*state, *chunks); };
    auto written = co_await runtime::offload(self, *disk, write);
    if (!written) co_return written.error();
  }
  auto end = [state] { return detail::end_transfer(*state); };
  co_return co_await runtime::offload(self, *disk, end);
}

}  // namespace dlls::actors

// The coroutine of transfer.hpp; included from there.
#pragma once
#include "runtime/sleep.hpp"

namespace dlls::actors {

template <class Actor>
runtime::task<base::result<>> fetch_artifact(
    Actor* self, std::shared_ptr<ledger::artifact_store> store,
    std::shared_ptr<runtime::worker_pool> disk, artifact_ref what, open_chunks open) {
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
  if (offset < what.bytes) {
    auto coming = open(offset);
    if (!coming) co_return coming.error();
    while (offset < what.bytes) {
      auto next = co_await coming->try_next();
      if (!next) co_return next.error();
      if (!*next) co_return base::error{base::errc::corrupt, "the artifact ends too early"};
      const auto got = std::make_shared<const chunk>(std::move(**next));
      auto write = [state, got, offset] { return detail::write_chunk(*state, *got, offset); };
      auto written = co_await runtime::offload(self, *disk, write);
      if (!written) co_return written.error();
      offset += got->bytes.size();
    }
  }
  auto end = [state] { return detail::end_transfer(*state); };
  co_return co_await runtime::offload(self, *disk, end);
}

}  // namespace dlls::actors

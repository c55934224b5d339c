// Outgoing webhooks as rows; each function is one operation inside the writer's transaction. A row
// waits while due_ms is set; sent and abandoned rows have none.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "ledger/detail/operation.hpp"
#include "ledger/records.hpp"

namespace dlls::ledger::detail {

base::result<std::vector<outbox_row>> claim_due(
    transaction& t, std::int64_t now_ms, std::int64_t hold_ms, std::uint32_t limit);
base::result<bool> mark_sent(transaction& t, const std::string& id);
base::result<bool> mark_failed(
    transaction& t, const std::string& id, std::optional<std::int64_t> next_attempt_ms,
    const std::string& why);
base::result<std::optional<std::int64_t>> next_due(transaction& t);

}  // namespace dlls::ledger::detail

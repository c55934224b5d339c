// From the ledger's records to the gateway's values.
#pragma once
#include "gateway/jobs.hpp"
#include "ledger/records.hpp"

namespace dlls::actors {

gateway::job_info to_gateway(const ledger::job& job);
gateway::file_info to_gateway(const ledger::file& file);
gateway::job_event to_gateway(const ledger::event& event);
inline std::int64_t to_seconds(std::int64_t ms) { return ms / 1000; }
std::optional<std::int64_t> to_seconds(std::optional<std::int64_t> ms);

}  // namespace dlls::actors

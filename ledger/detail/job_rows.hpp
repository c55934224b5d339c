// Jobs and their events as rows. Each function is one operation inside the writer's transaction; an
// error takes back what the function wrote.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "ledger/detail/operation.hpp"
#include "ledger/records.hpp"

namespace dlls::ledger::detail {

base::result<submission> submit(transaction& t, const new_job& j);
base::result<job> find_submitted(transaction& t, const new_job& like);
base::result<job> find_job(
    transaction& t, const std::optional<std::string>& owner, const std::string& id);
base::result<job_counts> count_jobs(transaction& t);
base::result<page<job>> list_jobs(transaction& t, const job_filter& f);

// The edges: edges.cpp.
base::result<job> advance(transaction& t, const edge& e);
base::result<job> grant(
    transaction& t, const std::string& id, const std::string& node,
    std::optional<std::uint64_t> fence);
base::result<std::vector<job>> pause(
    transaction& t, const std::string& node, const std::string& reason);
base::result<job> pause_job(
    transaction& t, const std::string& id, std::uint64_t fence, const std::string& reason);
base::result<job> resume(
    transaction& t, const std::string& id, const std::string& node, std::uint64_t fence);

// Events: event_rows.cpp.
base::result<event> add_event(
    transaction& t, const std::string& id, std::optional<std::uint64_t> fence, const new_event& e);
base::result<page<event>> list_events(
    transaction& t, const std::optional<std::string>& owner, const std::string& id,
    std::int64_t after, std::uint32_t limit, order by);
base::result<std::uint64_t> forget(transaction& t, std::int64_t before_ms, std::uint32_t limit);

// Shared by the three files.
struct job_row {
  std::int64_t seq = 0;
  dlls::ledger::job job;
};
std::optional<job_row> read_job(transaction& t, const std::string& id);
std::int64_t write_event(transaction& t, std::int64_t job_seq, const new_event& e);
base::error no_such_job(const std::string& id);
// stale, failed_precondition for one from the future, or ok.
base::result<> check_fence(const job& j, std::uint64_t fence);

}  // namespace dlls::ledger::detail

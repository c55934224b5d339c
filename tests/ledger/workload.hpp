// A busy coordinator in small: jobs walk from submit to ready, several at once, and every answer is
// noted as a promise. The checker then asks whether a ledger keeps what was promised.
#pragma once
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "ledger_fixture.hpp"

namespace dlls::ledger {

// What was told to clients: the farthest state of each job.
using promises = std::map<std::string, job_state>;

// "job-... ready", as a line.
std::string promise_line(const std::string& id, job_state state);
void take_promise(promises& kept, const std::string& line);

// Runs `jobs` jobs, `width` at a time, and returns when every call was answered. `promised` is
// called on the writer thread for each acknowledged step. A refused step ends its job's walk. The
// job's id is its idempotency key too; names begin with `prefix`.
void run_workload(
    ledger& l, const std::string& prefix, int jobs, int width,
    const std::function<void(const std::string& id, job_state)>& promised);

// The first broken promise or torn transaction, in words; empty when all is well: every promised
// job is there, at least as far as promised; every job has one event for each of its steps; every
// ready job has its webhook, and no other has one.
std::string find_damage(ledger& l, const promises& promised);

}  // namespace dlls::ledger

// The kinds of job, as far as the cloud must know them: what a request of each kind needs.
#pragma once
#include "base/error.hpp"
#include "gateway/jobs.hpp"

namespace dlls::actors {

// invalid_argument, naming the parameter, for a kind that does not exist or a request that lacks
// what its kind needs. Models and files are looked up elsewhere.
base::result<> check_job_request(const gateway::job_request& request);

}  // namespace dlls::actors

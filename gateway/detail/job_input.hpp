// Bodies of /v1/fine_tuning/jobs and /v1/jobs, read and checked.
#pragma once
#include <string_view>

#include "gateway/detail/json_input.hpp"
#include "gateway/jobs.hpp"

namespace dlls::gateway::detail {

// `first` holds what is wrong, else the request is usable. Without the idempotency key.
job_request read_fine_tuning(std::string_view body, problem& first);
job_request read_job(std::string_view body, problem& first);

// At most 128 visible ASCII characters.
void check_idempotency_key(const request& in, problem& first);

}  // namespace dlls::gateway::detail

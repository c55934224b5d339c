// `limit`, `after` and `order` of a list's query.
#pragma once
#include <cstdint>

#include "gateway/detail/errors.hpp"
#include "gateway/detail/json_input.hpp"

namespace dlls::gateway::detail {

// The first of that name; empty when there is none.
std::string query_value(const request& in, std::string_view name);

// invalid values set `first`.
page_request read_page(
    const request& in, std::uint32_t limit_default, std::uint32_t limit_max, problem& first);

}  // namespace dlls::gateway::detail

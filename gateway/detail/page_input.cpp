#include "gateway/detail/page_input.hpp"

namespace dlls::gateway::detail {
namespace {
constexpr std::size_t cursor_bytes_max = 128;
}

std::string query_value(const request& in, std::string_view name) {
  for (const auto& [key, value] : in.query)
    if (key == name) return value;
  return {};
}

page_request read_page(
    const request& in, std::uint32_t limit_default, std::uint32_t limit_max, problem& first) {
  page_request out;
  out.limit = limit_default;
  out.after = query_value(in, "after");
  if (const auto limit = query_value(in, "limit"); !limit.empty()) {
    const auto value = parse_unsigned(limit);
    if (!value || *value < 1 || *value > limit_max)
      first = bad_request(
          "'limit' must be an integer between 1 and " + std::to_string(limit_max), "limit",
          "invalid_value");
    else
      out.limit = static_cast<std::uint32_t>(*value);
  }
  const auto order = query_value(in, "order");
  if (!order.empty() && order != "asc" && order != "desc")
    first = bad_request("'order' must be asc or desc", "order", "invalid_value");
  out.ascending = order == "asc";
  if (out.after.size() > cursor_bytes_max)
    first = bad_request("'after' is not an id", "after", "invalid_value");
  return out;
}

}  // namespace dlls::gateway::detail

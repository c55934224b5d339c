#include "actors/job_run.hpp"

#include <fmt/core.h>
#include <fmt/ranges.h>

namespace dlls::actors {
using base::errc;
using base::error;
using base::result;

std::vector<std::string> known_kinds() { return {"checksum", "fine_tune", "pretrain", "generate"}; }

result<std::unique_ptr<job_run>> start_run(work_order order, run_tools tools) {
  if (order.kind == "checksum") return start_checksum(std::move(order));
  if (order.kind == "fine_tune" || order.kind == "pretrain")
    return start_training(std::move(order), tools);
  if (order.kind == "generate") return start_generation(std::move(order), tools);
  return error{
      errc::unsupported, fmt::format("no job kind '{}'", order.kind),
      fmt::format("the kinds are: {}", fmt::join(known_kinds(), ", "))};
}

}  // namespace dlls::actors

#include "actors/job_kinds.hpp"

#include <fmt/core.h>

#include <array>

namespace dlls::actors {
using base::errc;
using base::error;
using base::result;

namespace {

struct kind_rule {
  std::string_view kind;
  bool needs_model;
  std::size_t files_min, files_max;
};

constexpr std::array rules{
    kind_rule{"checksum", false, 1, 64},
    kind_rule{"fine_tune", true, 1, 2},
    kind_rule{"pretrain", true, 1, 1},  // the model whose tokenizer it takes over
    kind_rule{"generate", true, 0, 0},
};

}  // namespace

result<> check_job_request(const gateway::job_request& request) {
  for (const auto& rule : rules) {
    if (rule.kind != request.kind) continue;
    if (rule.needs_model && request.model.empty())
      return error{
          errc::invalid_argument, fmt::format("a job of kind '{}' needs a 'model'", rule.kind)};
    if (request.files.size() < rule.files_min || request.files.size() > rule.files_max)
      return error{
          errc::invalid_argument, fmt::format(
                                      "a job of kind '{}' takes {} to {} files, not {}", rule.kind,
                                      rule.files_min, rule.files_max, request.files.size())};
    if (request.kind == "fine_tune" && request.method != "supervised")
      return error{
          errc::unsupported, fmt::format("method '{}' is not built in", request.method),
          "the method is 'supervised'"};
    return {};
  }
  return error{
      errc::invalid_argument, fmt::format("no job kind '{}'", request.kind),
      "the kinds are: checksum, fine_tune, pretrain, generate"};
}

}  // namespace dlls::actors

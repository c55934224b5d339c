#include "actors/cloud_records.hpp"

#include <fmt/core.h>

#include "base/encoding.hpp"
#include "base/random.hpp"

namespace dlls::actors {

std::optional<std::int64_t> to_seconds(std::optional<std::int64_t> ms) {
  return ms ? std::optional{*ms / 1000} : std::nullopt;
}

gateway::job_info to_gateway(const ledger::job& job) {
  gateway::job_info info;
  info.id = job.id;
  info.state = std::string{ledger::name(job.state)};
  if (auto request = gateway::from_spec_json(job.spec_json)) info.request = std::move(*request);
  info.request.kind = job.kind;
  info.attempt = job.attempt;
  info.node = job.node;
  info.fine_tuned_model = job.model_out;
  info.created = to_seconds(job.created_ms);
  info.started = to_seconds(job.started_ms);
  info.finished = to_seconds(job.finished_ms);
  if (job.trained_tokens > 0) info.trained_tokens = static_cast<std::uint64_t>(job.trained_tokens);
  if (!job.error_code.empty() || !job.error_message.empty()) {
    gateway::job_error why;
    why.code = job.error_code;
    why.message = job.error_message;
    if (job.error_code == "invalid_training_file") why.param = "training_file";
    if (job.error_code == "invalid_validation_file") why.param = "validation_file";
    info.error = std::move(why);
  }
  return info;
}

gateway::file_info to_gateway(const ledger::file& file) {
  gateway::file_info info;
  info.id = file.id;
  info.filename = file.filename;
  info.purpose = file.purpose;
  info.bytes = file.bytes;
  info.sha256 = file.sha256;
  info.created = to_seconds(file.created_ms);
  info.expires = to_seconds(file.expires_ms);
  info.status = file.status;
  return info;
}

gateway::key_info to_gateway(const ledger::api_key& key) {
  gateway::key_info info;
  info.id = key.id;
  info.name = key.name;
  info.created = to_seconds(key.created_ms);
  info.revoked = to_seconds(key.revoked_ms);
  return info;
}

std::string new_api_key() {
  std::byte secret[32];
  base::secure_random(secret);
  return "dlls-" + base::to_base64url(secret);
}

gateway::job_event to_gateway(const ledger::event& event) {
  constexpr const char* levels[] = {"info", "warn", "error"};
  gateway::job_event told;
  told.id = fmt::format("ftevent-{}", event.id);
  told.created = to_seconds(event.at_ms);
  told.level = levels[static_cast<int>(event.level)];
  told.type = event.type;
  told.message = event.message;
  told.data_json = event.data_json;
  return told;
}

}  // namespace dlls::actors

#include "gateway/detail/json_output.hpp"

#include <boost/json/serialize.hpp>
#include <cmath>

#include "gateway/detail/json_input.hpp"

namespace dlls::gateway::detail {
namespace json = boost::json;
namespace {

template <class T>
json::value or_null(const std::optional<T>& v) {
  return v ? json::value(*v) : json::value{};
}

template <class T>
json::value or_auto(const std::optional<T>& v) {
  return v ? json::value(*v) : json::value("auto");
}

json::object hyperparameters_object(const hyperparameters& h, bool with_beta) {
  json::object out;
  out["n_epochs"] = or_auto(h.n_epochs);
  out["batch_size"] = or_auto(h.batch_size);
  out["learning_rate_multiplier"] = or_auto(h.learning_rate_multiplier);
  if (with_beta) out["beta"] = or_auto(h.beta);
  return out;
}

json::value error_value(const std::optional<job_error>& e) {
  if (!e) return nullptr;
  json::object out;
  out["code"] = text_value(e->code);
  out["message"] = text_value(e->message);
  out["param"] = text_or_null(e->param);
  return out;
}

json::array text_array(const std::vector<std::string>& items) {
  json::array out;
  for (const auto& item : items) out.push_back(text_value(item));
  return out;
}

// JSON has no infinity and no NaN.
json::value finite_or_null(double v) { return std::isfinite(v) ? json::value(v) : json::value{}; }

}  // namespace

json::string text_value(std::string_view text) {
  const auto valid = valid_utf8(text);
  return json::string{valid.data(), valid.size()};
}

json::value text_or_null(std::string_view text) {
  return text.empty() ? json::value{} : json::value(text_value(text));
}

json::value parsed_or_null(std::string_view text) {
  if (text.empty()) return nullptr;
  auto parsed = parse_json(text);
  return parsed ? *std::move(parsed) : json::value{};
}

response json_response(const json::object& body) {
  response out;
  out.body = json::serialize(body);
  return out;
}

json::object model_object(const model_info& m) {
  json::object out;
  out["id"] = text_value(m.id);
  out["object"] = "model";
  out["created"] = m.created;
  out["owned_by"] = text_value(m.owned_by);
  out["context_length"] = m.context;
  out["kind"] = text_value(m.kind);
  out["node"] = text_or_null(m.node);
  return out;
}

json::object file_object(const file_info& f) {
  json::object out;
  out["id"] = text_value(f.id);
  out["object"] = "file";
  out["bytes"] = f.bytes;
  out["created_at"] = f.created;
  out["expires_at"] = or_null(f.expires);
  out["filename"] = text_value(f.filename);
  out["purpose"] = text_value(f.purpose);
  out["sha256"] = text_value(f.sha256);  // ours: a client sees what it need not send again
  out["status"] = text_value(f.status);
  out["status_details"] = nullptr;
  return out;
}

json::object usage_object(const token_usage& u) {
  json::object out;
  out["prompt_tokens"] = u.prompt_tokens;
  out["completion_tokens"] = u.completion_tokens;
  out["total_tokens"] = u.prompt_tokens + u.completion_tokens;
  json::object cached;
  cached["cached_tokens"] = u.cached_tokens;
  out["prompt_tokens_details"] = std::move(cached);
  return out;
}

json::object fine_tuning_object(const job_info& j) {
  const bool dpo = j.request.method == "dpo";
  json::object inner, method, extra, out;
  inner["hyperparameters"] = hyperparameters_object(j.request.hyper, dpo);
  method["type"] = text_value(j.request.method);
  method[json::string_view{j.request.method}] = std::move(inner);
  extra["state"] = text_value(j.state);
  extra["attempt"] = j.attempt;
  extra["node"] = text_or_null(j.node);
  out["id"] = text_value(j.id);
  out["object"] = "fine_tuning.job";
  out["created_at"] = j.created;
  out["error"] = error_value(j.error);
  out["fine_tuned_model"] = text_or_null(j.fine_tuned_model);
  out["finished_at"] = or_null(j.finished);
  out["estimated_finish"] = or_null(j.estimated_finish);
  out["hyperparameters"] = hyperparameters_object(j.request.hyper, dpo);
  out["model"] = text_value(j.request.model);
  out["organization_id"] = "org-dlls";
  out["result_files"] = text_array(j.result_files);
  out["seed"] = j.request.seed.value_or(0);
  const auto status = fine_tuning_status(j.state);
  out["status"] = json::string_view{status.data(), status.size()};
  out["trained_tokens"] = or_null(j.trained_tokens);
  out["training_file"] = text_value(j.request.training_file());
  out["validation_file"] = text_or_null(j.request.validation_file());
  out["integrations"] = json::array{};
  out["user_provided_suffix"] = text_or_null(j.request.suffix);
  out["method"] = std::move(method);
  out["metadata"] = parsed_or_null(j.request.metadata_json);
  out["dlls"] = std::move(extra);
  return out;
}

json::object fine_tuning_event_object(const job_event& e) {
  json::object out;
  out["id"] = text_value(e.id);
  out["object"] = "fine_tuning.job.event";
  out["created_at"] = e.created;
  out["level"] = text_value(e.level);
  out["type"] = text_value(e.type);
  out["message"] = text_value(e.message);
  out["data"] = parsed_or_null(e.data_json);
  return out;
}

json::object job_object(const job_info& j) {
  json::object out;
  out["id"] = text_value(j.id);
  out["object"] = "job";
  out["kind"] = text_value(j.request.kind);
  out["state"] = text_value(j.state);
  out["model"] = text_or_null(j.request.model);
  out["files"] = text_array(j.request.files);
  out["spec"] = parsed_or_null(j.request.extra_json);
  out["metadata"] = parsed_or_null(j.request.metadata_json);
  out["attempt"] = j.attempt;
  out["node"] = text_or_null(j.node);
  out["result_model"] = text_or_null(j.fine_tuned_model);
  out["result_files"] = text_array(j.result_files);
  out["trained_tokens"] = or_null(j.trained_tokens);
  out["created_at"] = j.created;
  out["started_at"] = or_null(j.started);
  out["finished_at"] = or_null(j.finished);
  out["estimated_finish"] = or_null(j.estimated_finish);
  out["error"] = error_value(j.error);
  return out;
}

json::object progress_object(const std::string& job, const job_progress& p) {
  json::object out;
  out["object"] = "job.progress";
  out["job"] = text_value(job);
  out["state"] = text_value(p.state);
  out["step"] = p.step;
  out["steps"] = p.steps;
  out["loss"] = finite_or_null(p.loss);
  out["tokens_per_s"] = finite_or_null(p.tokens_per_s);
  out["remaining_s"] = finite_or_null(p.remaining_s);
  out["message"] = text_value(p.message);
  return out;
}

}  // namespace dlls::gateway::detail

// /health and /v1/models.
#include <boost/json/object.hpp>

#include "gateway/detail/errors.hpp"
#include "gateway/detail/json_output.hpp"
#include "gateway/detail/routes.hpp"

namespace dlls::gateway::detail::models {
namespace json = boost::json;
namespace {

response health_response(const base::result<health_info>& got, bool full) {
  if (!got) return to_response(got.error());
  json::object body;
  body["status"] = got->ledger_ok ? "ok" : "degraded";
  body["version"] = text_value(got->version);
  body["nodes_connected"] = got->nodes_connected;
  body["ledger"] = got->ledger_ok ? "ok" : "failing";
  if (full) {
    json::object jobs;
    for (const auto& [state, n] : got->jobs_by_state)
      jobs[json::string_view{state.data(), state.size()}] = n;
    body["jobs"] = std::move(jobs);
  }
  auto out = json_response(body);
  if (!got->ledger_ok) out.status = 503;
  return out;
}

}  // namespace

void health(request, backend& to, exchange_ptr out) {
  to.health(on_home<health_info>(
      out, [out](base::result<health_info> got) { out->send(health_response(got, false)); }));
}

void full_health(request, backend& to, exchange_ptr out) {
  to.health(on_home<health_info>(
      out, [out](base::result<health_info> got) { out->send(health_response(got, true)); }));
}

void list(request in, backend& to, exchange_ptr out) {
  using found = std::vector<model_info>;
  to.list_models(
      std::move(in.who), on_home<found>(out, [out](base::result<found> got) {
        out->send(got ? list_response(*got, false, model_object) : to_response(got.error()));
      }));
}

void find(request in, backend& to, exchange_ptr out) {
  const auto id = in.parameters[0];
  to.find_model(
      std::move(in.who), id, on_home<model_info>(out, [out, id](base::result<model_info> got) {
        out->send(
            got ? json_response(model_object(*got)) : to_response(api_error_of(got.error(), id)));
      }));
}

}  // namespace dlls::gateway::detail::models

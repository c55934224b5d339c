#include "gateway/detail/routes.hpp"

#include <algorithm>
#include <array>

namespace dlls::gateway::detail {
namespace {

using enum body_kind;

constexpr std::array table{
    route{"GET", "/health", none, false, false, models::health},
    route{"GET", "/v1/health", none, true, false, models::full_health},

    route{"GET", "/v1/models", none, true, false, models::list},
    route{"GET", "/v1/models/{*}", none, true, false, models::find},
    route{"POST", "/v1/chat/completions", json, true, true, completions::chat},
    route{"POST", "/v1/completions", json, true, true, completions::text},

    route{"POST", "/v1/embeddings", json, true, true, embeddings::create},

    route{"POST", "/v1/files", upload, true, true, nullptr, files::open_upload},
    route{"GET", "/v1/files", none, true, false, files::list},
    route{"GET", "/v1/files/{}", none, true, false, files::find},
    route{"GET", "/v1/files/{}/content", none, true, true, files::read},
    route{"DELETE", "/v1/files/{}", none, true, false, files::remove},

    route{"POST", "/v1/fine_tuning/jobs", json, true, false, fine_tuning::create},
    route{"GET", "/v1/fine_tuning/jobs", none, true, false, fine_tuning::list},
    route{"GET", "/v1/fine_tuning/jobs/{}", none, true, false, fine_tuning::find},
    route{"POST", "/v1/fine_tuning/jobs/{}/cancel", json, true, false, fine_tuning::cancel},
    route{"GET", "/v1/fine_tuning/jobs/{}/events", none, true, false, fine_tuning::events},
    route{
        "GET", "/v1/fine_tuning/jobs/{}/checkpoints", none, true, false, fine_tuning::checkpoints},

    route{"POST", "/v1/jobs", json, true, false, jobs::create},
    route{"GET", "/v1/jobs", none, true, false, jobs::list},
    route{"GET", "/v1/jobs/{}", none, true, false, jobs::find},
    route{"POST", "/v1/jobs/{}/cancel", json, true, false, jobs::cancel},
    route{"POST", "/v1/jobs/{}/release", json, true, false, jobs::release},
    route{"GET", "/v1/jobs/{}/events", none, true, false, jobs::events},
    route{"GET", "/v1/jobs/{}/result", none, true, false, jobs::result},
    route{"GET", "/v1/jobs/{}/artifacts/{}", none, true, true, jobs::artifact},
    route{"GET", "/v1/jobs/{}/watch", none, true, true, jobs::watch},

    route{"GET", "/v1/nodes", none, true, false, owner::nodes},
    route{"DELETE", "/v1/nodes/{}", none, true, false, owner::revoke},
    route{"POST", "/v1/enrolments", json, true, false, owner::enroll},
    route{"GET", "/v1/keys", none, true, false, owner::keys},
    route{"POST", "/v1/keys", json, true, false, owner::add_key},
    route{"DELETE", "/v1/keys/{}", none, true, false, owner::revoke_key},
    route{"GET", "/v1/traffic", none, true, false, owner::traffic},
    route{"PUT", "/v1/webhook", json, true, false, owner::set_webhook},
    route{"GET", "/v1/webhook", none, true, false, owner::find_webhook},
    route{"DELETE", "/v1/webhook", none, true, false, owner::delete_webhook},
};

// Takes the next segment off `path`, which starts with its slash.
std::string_view next_segment(std::string_view& path) {
  path.remove_prefix(1);
  const auto end = std::min(path.find('/'), path.size());
  const auto segment = path.substr(0, end);
  path.remove_prefix(end);
  return segment;
}

bool matches(
    std::string_view pattern, std::string_view path, std::vector<std::string>& parameters) {
  parameters.clear();
  while (!pattern.empty() && !path.empty()) {
    const auto rest = path.substr(1);
    const auto wanted = next_segment(pattern);
    auto got = next_segment(path);
    if (wanted == "{*}") got = rest, path = {};
    if (!wanted.starts_with('{')) {
      if (wanted != got) return false;
      continue;
    }
    auto decoded = percent_decoded(got);
    if (!decoded || decoded->empty()) return false;
    parameters.push_back(*std::move(decoded));
  }
  return pattern.empty() && path.empty();
}

}  // namespace

std::span<const route> routes() { return table; }

route_match find_route(std::string_view method, std::string_view path) {
  if (method == "HEAD") method = "GET";
  route_match out;
  for (const auto& candidate : table) {
    if (!matches(candidate.pattern, path, out.parameters)) continue;
    if (candidate.method == method) {
      out.found = &candidate;
      return out;
    }
    if (!out.allowed.empty()) out.allowed += ", ";
    out.allowed += candidate.method;
  }
  return out;
}

}  // namespace dlls::gateway::detail

#include "gateway/detail/errors.hpp"

#include <algorithm>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>

#include "base/log.hpp"

namespace dlls::gateway::detail {
namespace {

using base::errc;

constexpr std::uint32_t retry_after_default_s = 5;
// OpenAI's SDK takes no notice of a longer wait and tries again at once.
constexpr std::uint32_t retry_after_max_s = 60;

struct mapping {
  unsigned status;
  const char* type;
  const char* code;
};

mapping mapping_of(errc code) {
  switch (code) {
    case errc::invalid_argument:
      return {400, "invalid_request_error", "invalid_value"};
    case errc::unsupported:
      return {400, "invalid_request_error", "unsupported"};
    case errc::too_long:
      return {400, "invalid_request_error", "context_length_exceeded"};
    case errc::unauthenticated:
      return {401, "authentication_error", "invalid_api_key"};
    case errc::permission_denied:
      return {403, "permission_error", "permission_denied"};
    case errc::not_found:
      return {404, "invalid_request_error", "not_found"};
    case errc::already_exists:
      return {409, "invalid_request_error", "already_exists"};
    case errc::failed_precondition:
      return {409, "invalid_request_error", "wrong_state"};
    case errc::stale:
      return {409, "invalid_request_error", "stale"};
    case errc::cancelled:
      return {409, "invalid_request_error", "cancelled"};
    case errc::resource_exhausted:
      return {429, "rate_limit_error", "rate_limit_exceeded"};
    case errc::unavailable:
      return {503, "server_error", "unavailable"};
    case errc::deadline_exceeded:
      return {504, "server_error", "timeout"};
    case errc::storage_full:
      return {507, "server_error", "storage_full"};
    case errc::corrupt:
      return {500, "server_error", "corrupt"};
    case errc::version_mismatch:
      return {500, "server_error", "version_mismatch"};
    case errc::ok:
    case errc::io:
    case errc::internal:
      break;
  }
  return {500, "server_error", "internal_error"};
}

boost::json::value string_or_null(const std::string& text) {
  if (text.empty()) return nullptr;
  return boost::json::value(valid_utf8(text));
}

}  // namespace

api_error api_error_of(const base::error& why) {
  const auto [status, type, code] = mapping_of(why.code);
  const bool ours = why.code == errc::internal || why.code == errc::io || why.code == errc::ok;
  if (ours) base::log_error("gateway", "{}", why.text());
  auto message = ours ? "something failed on our side; the server's log has it" : why.message;
  if (!ours && !why.hint.empty()) message += " (" + why.hint + ")";
  return {status, std::move(message), type, why.param, code, why.retry_after_s};
}

api_error bad_request(std::string message, std::string param, std::string code) {
  return {400, std::move(message), "invalid_request_error", std::move(param), std::move(code)};
}

api_error api_error_of(const base::error& why, std::string_view model) {
  if (why.code != errc::not_found) return api_error_of(why);
  return {
      404, "the model '" + std::string{model} + "' does not exist or is not yours; see /v1/models",
      "invalid_request_error", "model", "model_not_found"};
}

std::string envelope(const api_error& why) {
  boost::json::object inner;
  inner["message"] = valid_utf8(why.message);
  inner["type"] = why.type;
  inner["param"] = string_or_null(why.param);
  inner["code"] = string_or_null(why.code);
  boost::json::object outer;
  outer["error"] = std::move(inner);
  return boost::json::serialize(outer);
}

response to_response(const api_error& why) {
  response out;
  out.status = why.status;
  out.body = envelope(why);
  if (why.status == 429 || why.status == 503) {
    const auto wait = why.retry_after_s ? why.retry_after_s : retry_after_default_s;
    out.headers.emplace_back("retry-after", std::to_string(std::min(wait, retry_after_max_s)));
  }
  if (why.status == 409) out.headers.emplace_back("x-should-retry", "false");
  if (why.status == 401) out.headers.emplace_back("www-authenticate", "Bearer");
  return out;
}

}  // namespace dlls::gateway::detail

// Failures as OpenAI's envelope: {"error": {"message", "type", "param", "code"}}, all four present.
#pragma once
#include <optional>
#include <string>

#include "base/error.hpp"
#include "gateway/detail/exchange.hpp"

namespace dlls::gateway::detail {

struct api_error {
  unsigned status = 500;
  std::string message;
  std::string type;                 // "invalid_request_error", "server_error", ...
  std::string param;                // "messages[0].content"; empty: null
  std::string code;                 // "model_not_found"; empty: null
  std::uint32_t retry_after_s = 0;  // of 429 and 503; 0: a default
};

// By the table in backend.hpp. Texts of `internal` and `io` are logged and replaced.
api_error api_error_of(const base::error& why);
api_error bad_request(std::string message, std::string param = {}, std::string code = {});
// Of a request that names a model: not_found means that one.
api_error api_error_of(const base::error& why, std::string_view model);

std::string envelope(const api_error& why);
// With Retry-After (429, 503) and x-should-retry (409: false), which the SDK obeys.
response to_response(const api_error& why);
inline response to_response(const base::error& why) { return to_response(api_error_of(why)); }

}  // namespace dlls::gateway::detail

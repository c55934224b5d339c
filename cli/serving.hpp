// The coordinator with its HTTP server in front: what `coordinator` and `up` start.
#pragma once
#include <memory>

#include "actors/cloud.hpp"
#include "cli/settings.hpp"
#include "gateway/server.hpp"

namespace dlls::cli {

struct serving {
  std::unique_ptr<actors::cloud> cloud;
  std::unique_ptr<gateway::http_server> http;
  ~serving() {
    if (http) http->stop();
    http.reset();
    cloud.reset();
  }
};

// Starts both. At the very first start the API key goes to settings.key_file (0600) when
// `keep_key`, else it is printed once.
base::result<std::unique_ptr<serving>> start_serving(
    const settings& from, bool keep_key, bool make_key = false);

}  // namespace dlls::cli

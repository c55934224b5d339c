#include "cli/serving.hpp"

#include <fmt/core.h>

#include "base/file.hpp"

namespace dlls::cli {
using base::result;

namespace {

result<> show_key(const settings& from, const std::string& key, bool keep_key) {
  if (!keep_key) {
    fmt::print(
        "API key, shown this once:\n\n    {}\n\nKeep it: only its hash is stored. Clients: export "
        "DLLS_API_KEY=...\n",
        key);
    return {};
  }
  if (auto made = base::make_folder(from.key_file.parent_path()); !made) return made;
  if (auto stored = base::write_file_durably(from.key_file, key + "\n", 0600); !stored)
    return stored;
  fmt::print("API key written to {}\n", from.key_file.string());
  return {};
}

}  // namespace

result<std::unique_ptr<serving>> start_serving(const settings& from, bool keep_key, bool make_key) {
  auto made = std::make_unique<serving>();
  actors::cloud_options cloud;
  cloud.state = from.coordinator_state;
  cloud.name = from.coordinator_name;
  cloud.link_address = from.link_address;
  cloud.link_port = from.link_port;
  cloud.make_key = make_key;
  cloud.show_key = [&from, keep_key](const std::string& key) {
    return show_key(from, key, keep_key);
  };
  auto started = actors::cloud::start(std::move(cloud));
  if (!started) return started.error();
  made->cloud = std::move(*started);
  gateway::server_options http;
  http.address = from.http_address;
  http.port = from.http_port;
  http.behind_proxy = from.behind_proxy;
  http.certificate_file = from.http_certificate;
  http.key_file = from.http_key;
  auto server = gateway::http_server::start(http, made->cloud->backend());
  if (!server) return server.error();
  made->http = std::move(*server);
  fmt::print(
      "coordinator ready: {} (nodes: {} port {})\n", made->http->url(), from.link_address,
      made->cloud->link_port());
  std::fflush(stdout);
  return made;
}

}  // namespace dlls::cli

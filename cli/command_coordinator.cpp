// dlls coordinator: the cloud side.
#include <fmt/core.h>

#include "cli/command.hpp"
#include "cli/serving.hpp"

namespace dlls::cli {

void add_coordinator(program& to) {
  struct flags {
    std::string http, link, state, proxy_certificate, proxy_key;
    bool behind_proxy = false, keep_key = false, make_key = false;
  };
  auto given = std::make_shared<flags>();
  auto* command = add_command(
      to, "coordinator", "run the cloud side: the OpenAI-compatible endpoint that nodes dial in to",
      [given](const settings& loaded) -> base::result<int> {
        auto all = loaded;
        if (!given->state.empty()) all.coordinator_state = given->state;
        if (!given->http.empty()) {
          auto at = split_address(given->http, all.http_port);
          if (!at) return at.error();
          std::tie(all.http_address, all.http_port) = *at;
        }
        if (!given->link.empty()) {
          auto at = split_address(given->link, all.link_port);
          if (!at) return at.error();
          std::tie(all.link_address, all.link_port) = *at;
        }
        all.behind_proxy |= given->behind_proxy;
        if (!given->proxy_certificate.empty()) all.http_certificate = given->proxy_certificate;
        if (!given->proxy_key.empty()) all.http_key = given->proxy_key;
        block_signals();
        auto running = start_serving(all, given->keep_key, given->make_key);
        if (!running) return running.error();
        wait_for_signal();
        fmt::print("stopping\n");
        return 0;
      });
  command->add_option("--http", given->http, "where clients connect (default 127.0.0.1:8080)");
  command->add_option("--link", given->link, "where nodes dial in (default 127.0.0.1:7443)");
  command->add_option("--state", given->state, "folder of the ledger (default <home>/coordinator)");
  command->add_option(
      "--certificate", given->proxy_certificate, "serve HTTPS with this PEM certificate");
  command->add_option("--key", given->proxy_key, "and this PEM key");
  command->add_flag(
      "--behind-proxy", given->behind_proxy,
      "plain HTTP on an address that is not loopback: a proxy in front ends TLS");
  command->add_flag(
      "--keep-key", given->keep_key, "write the API key to <home>/api-key instead of showing it");
  command->add_flag(
      "--make-key", given->make_key, "make one more API key at this start: for when yours is lost");
}

}  // namespace dlls::cli

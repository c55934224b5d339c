// Where the programs find their files and each other: defaults, overridden by a TOML file,
// overridden by the environment, overridden by flags.
//
//   [client]       url = "http://127.0.0.1:8080"   key_file = "..."
//   [http]         address, port, behind_proxy, certificate, key
//   [coordinator]  name, link_address, link_port, state
//   [node]         name, coordinator ("host:port"), state, models, threads, models_mib,
//                  cache_mib, cache_type, draft
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>

#include "base/error.hpp"

namespace dlls::cli {

struct settings {
  std::filesystem::path home;  // DLLS_HOME, else $XDG_DATA_HOME/dlls, else ~/.local/share/dlls

  std::string url;                 // DLLS_URL
  std::filesystem::path key_file;  // of the client; DLLS_API_KEY holds the key itself

  std::string http_address = "127.0.0.1";
  std::uint16_t http_port = 8080;
  bool behind_proxy = false;
  std::filesystem::path http_certificate, http_key;

  std::string coordinator_name = "main";
  std::string link_address = "127.0.0.1";
  std::uint16_t link_port = 7443;
  std::filesystem::path coordinator_state;

  std::string node_name = "home";
  std::string coordinator = "127.0.0.1:7443";
  std::filesystem::path node_state, models;
  unsigned threads = 0;
  unsigned models_mib = 0;
  unsigned cache_mib = 1024;
  std::string cache_type = "f16";
  std::string draft;
};

// Reads `file`, or $DLLS_CONFIG, or <home>/dlls.toml when it exists. invalid_argument names the
// line, the member and what it should be; an unknown member is an error, since it is a typing
// mistake.
base::result<settings> load_settings(const std::filesystem::path& file);

// "host:port" or "[v6]:port"; the port may be missing.
base::result<std::pair<std::string, std::uint16_t>> split_address(
    const std::string& text, std::uint16_t port_default);

}  // namespace dlls::cli

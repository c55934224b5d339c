// TLS settings of the HTTP side: one place for what is allowed.
#pragma once
#include <boost/asio/ssl/context.hpp>
#include <filesystem>
#include <string>

#include "base/error.hpp"

namespace dlls::gateway::detail {

// TLS 1.2 or newer, Mozilla's intermediate ciphers, no renegotiation, no compression, no tickets
// kept; small buffers for idle connections. not_found, corrupt, permission_denied: which file.
base::result<> configure_server_tls(
    boost::asio::ssl::context& tls, const std::filesystem::path& certificate_file,
    const std::filesystem::path& key_file);

// Peers are verified against `ca_file`, or the system's certificates when it is empty.
base::result<> configure_client_tls(boost::asio::ssl::context& tls, const std::string& ca_file);

}  // namespace dlls::gateway::detail

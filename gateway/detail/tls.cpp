#include "gateway/detail/tls.hpp"

#include <openssl/ssl.h>
#include <unistd.h>

namespace dlls::gateway::detail {
namespace ssl = boost::asio::ssl;
using boost::system::error_code;
namespace {

// https://wiki.mozilla.org/Security/Server_Side_TLS, "intermediate", for TLS 1.2.
constexpr const char* ciphers =
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
    "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";

bool common(ssl::context& tls) {
  auto* native = tls.native_handle();
  SSL_CTX_set_mode(native, SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_options(native, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
  return SSL_CTX_set_min_proto_version(native, TLS1_2_VERSION) == 1 &&
         SSL_CTX_set_cipher_list(native, ciphers) == 1;
}

base::result<> readable(const std::filesystem::path& file, const char* what) {
  if (file.empty())
    return base::error{
        base::errc::invalid_argument, std::string{"no "} + what + " file given",
        "TLS needs both the certificate and its key"};
  if (::access(file.c_str(), R_OK) != 0)
    return base::errno_error(std::string{what} + " file " + file.string());
  return {};
}

base::error unusable(const char* what, const std::filesystem::path& file, const error_code& ec) {
  return {
      base::errc::corrupt,
      std::string{"the "} + what + " file " + file.string() + " is unusable: " + ec.message(),
      "it must be PEM, and the key must belong to the certificate"};
}

}  // namespace

base::result<> configure_server_tls(
    ssl::context& tls, const std::filesystem::path& certificate_file,
    const std::filesystem::path& key_file) {
  if (auto ok = readable(certificate_file, "certificate"); !ok) return ok;
  if (auto ok = readable(key_file, "key"); !ok) return ok;
  error_code ec;
  tls.use_certificate_chain_file(certificate_file.string(), ec);
  if (ec) return unusable("certificate", certificate_file, ec);
  tls.use_private_key_file(key_file.string(), ssl::context::pem, ec);
  if (ec) return unusable("key", key_file, ec);
  SSL_CTX_set_session_cache_mode(tls.native_handle(), SSL_SESS_CACHE_OFF);
  if (!common(tls))
    return base::error{base::errc::internal, "this OpenSSL refuses our TLS settings"};
  return {};
}

base::result<> configure_client_tls(ssl::context& tls, const std::string& ca_file) {
  error_code ec;
  if (ca_file.empty())
    tls.set_default_verify_paths(ec);
  else
    tls.load_verify_file(ca_file, ec);
  if (ec) return unusable("CA", ca_file, ec);
  tls.set_verify_mode(ssl::verify_peer, ec);
  if (ec || !common(tls))
    return base::error{base::errc::internal, "this OpenSSL refuses our TLS settings"};
  return {};
}

}  // namespace dlls::gateway::detail

#include "runtime/link/detail/tls.hpp"

#include <fmt/core.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "base/check.hpp"
#include "runtime/link/detail/tls_callbacks.hpp"

namespace dlls::runtime::link::detail {

using base::errc;
using base::error;

session::session(
    std::shared_ptr<SSL_CTX> context, std::shared_ptr<const tls_rules> rules, int fd, bool server)
    : context_(std::move(context)), rules_(std::move(rules)), fd_(fd), server_(server) {
  ssl_ = SSL_new(context_.get());
  base::check(ssl_ != nullptr, "out of memory for a TLS session");
  auto* bio = callbacks::make_bio(*this);
  SSL_set_bio(ssl_, bio, bio);
  SSL_set_app_data(ssl_, this);
  if (server) {
    SSL_set_accept_state(ssl_);
    return;
  }
  SSL_set_connect_state(ssl_);
  const auto protocol = own_protocol();
  const std::string wire = static_cast<char>(protocol.size()) + protocol;
  SSL_set_alpn_protos(
      ssl_, reinterpret_cast<const unsigned char*>(wire.data()),
      static_cast<unsigned>(wire.size()));
}

session::~session() { SSL_free(ssl_); }

std::string session::own_protocol() const {
  return rules_->ca_fingerprint.empty() ? link_protocol(rules_->version)
                                        : std::string(join_protocol);
}

session::step session::handshake() {
  ERR_clear_error();
  errno = 0;
  const auto result = classify(SSL_do_handshake(ssl_), true);
  if (result != step::done) return result;
  const unsigned char* chosen = nullptr;
  unsigned size = 0;
  SSL_get0_alpn_selected(ssl_, &chosen, &size);
  peer_version_.assign(reinterpret_cast<const char*>(chosen), size);
  if (size == 0 || (!server_ && peer_version_ != own_protocol())) {
    refusal_ = error{errc::version_mismatch, "the peer does not speak a DLLS protocol"};
    return step::failed;
  }
  if (wanted() == purpose::join && server_) return step::done;  // shows no certificate
  certificate_ptr certificate{SSL_get1_peer_certificate(ssl_)};
  auto identity = certificate ? identity_of(certificate.get())
                              : base::result<peer_identity>{
                                    error{errc::unauthenticated, "the peer shows no certificate"}};
  if (!identity) {
    refusal_ = identity.error();
    return step::failed;
  }
  peer_ = *identity;
  fingerprint_ = fingerprint_of(certificate.get());
  return step::done;
}

session::step session::read(void* into, std::size_t size_max, std::size_t& size) {
  size = 0;
  ERR_clear_error();
  errno = 0;
  return classify(SSL_read_ex(ssl_, into, size_max, &size), false);
}

session::step session::write(const void* from, std::size_t size_max, std::size_t& size) {
  size = 0;
  ERR_clear_error();
  errno = 0;
  return classify(SSL_write_ex(ssl_, from, size_max, &size), false);
}

bool session::has_pending() const { return SSL_has_pending(ssl_) != 0; }
void session::read_ahead() { SSL_set_read_ahead(ssl_, 1); }

session::step session::classify(int result, bool in_handshake) {
  if (result == 1) return step::done;
  const int system = errno;
  switch (SSL_get_error(ssl_, result)) {
    case SSL_ERROR_WANT_READ:
      return step::want_read;
    case SSL_ERROR_WANT_WRITE:
      return step::want_write;
    case SSL_ERROR_ZERO_RETURN:
      return step::closed;
    case SSL_ERROR_SYSCALL:
      errno_ = system;
      return system == 0 && !in_handshake ? step::closed : step::failed;
    default:
      reason_ = ERR_peek_last_error();
      errno_ = system;
      return ERR_GET_REASON(reason_) == SSL_R_UNEXPECTED_EOF_WHILE_READING && !in_handshake
                 ? step::closed
                 : step::failed;
  }
}

namespace {

constexpr auto rejoin =
    "run `dlls enroll` on the coordinator and `dlls node --rejoin` here with the new token";

// Alerts are what the peer thought of us (RFC 8446, 6.2).
error error_of_alert(int alert) {
  switch (alert) {
    case SSL_AD_UNKNOWN_CA:
    case SSL_AD_BAD_CERTIFICATE:
    case SSL_AD_CERTIFICATE_UNKNOWN:
    case SSL_AD_DECRYPT_ERROR:
      return {errc::unauthenticated, "the peer does not accept our certificate", rejoin};
    case SSL_AD_CERTIFICATE_EXPIRED:
      return {errc::unauthenticated, "the peer says that our certificate has expired", rejoin};
    case TLS13_AD_CERTIFICATE_REQUIRED:
      return {errc::unauthenticated, "the peer asks for a certificate, and we showed none", rejoin};
    case SSL_AD_UNSUPPORTED_CERTIFICATE:
    case SSL_AD_HANDSHAKE_FAILURE:
      return {
          errc::permission_denied, "the peer refuses the role of our certificate",
          "a node's certificate links to a coordinator, and the other way round"};
    case TLS1_AD_NO_APPLICATION_PROTOCOL:
      return {errc::version_mismatch, "the peer does not speak our protocol"};
    case SSL_AD_PROTOCOL_VERSION:
      return {errc::version_mismatch, "the peer speaks no common version of TLS"};
    default:
      return {errc::unavailable, fmt::format("the peer broke off TLS (alert {})", alert)};
  }
}

}  // namespace

error session::failure() const {
  if (refusal_) return *refusal_;
  if (reason_ != 0 && ERR_GET_LIB(reason_) == ERR_LIB_SSL) {
    const int reason = ERR_GET_REASON(reason_);
    if (reason > SSL_AD_REASON_OFFSET && reason < SSL_AD_REASON_OFFSET + 256)
      return error_of_alert(reason - SSL_AD_REASON_OFFSET);
    switch (reason) {
      case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
        return {errc::unauthenticated, "the peer shows no certificate"};
      case SSL_R_UNEXPECTED_EOF_WHILE_READING:
        return {errc::unavailable, "the peer closed the connection"};
      case SSL_R_UNSUPPORTED_PROTOCOL:
        return {errc::version_mismatch, "the peer does not speak TLS 1.3"};
      case SSL_R_WRONG_VERSION_NUMBER:
      case SSL_R_HTTP_REQUEST:
      case SSL_R_PACKET_LENGTH_TOO_LONG:
        return {errc::version_mismatch, "the peer does not speak TLS"};
    }
  }
  if (reason_ != 0) {
    const char* text = ERR_reason_error_string(reason_);
    return {errc::unavailable, fmt::format("TLS: {}", text ? text : "unknown failure")};
  }
  if (errno_ == ETIMEDOUT) return {errc::unavailable, "the connection timed out"};
  if (errno_ != 0) return {errc::unavailable, std::strerror(errno_)};
  return {errc::unavailable, "the peer closed the connection"};
}

}  // namespace dlls::runtime::link::detail

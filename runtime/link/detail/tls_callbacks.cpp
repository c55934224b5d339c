#include "runtime/link/detail/tls_callbacks.hpp"

#include <fmt/core.h>
#include <openssl/bio.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>

#include <cerrno>

#include "base/check.hpp"

namespace dlls::runtime::link::detail {

using base::errc;
using base::error;

BIO* callbacks::make_bio(session& s) {
  static BIO_METHOD* const method = [] {
    auto* m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "dlls link");
    base::check(m != nullptr, "out of memory for a BIO method");
    BIO_meth_set_write(m, &callbacks::bio_write);
    BIO_meth_set_read(m, &callbacks::bio_read);
    BIO_meth_set_ctrl(m, &callbacks::bio_control);
    return m;
  }();
  auto* bio = BIO_new(method);
  base::check(bio != nullptr, "out of memory for a BIO");
  BIO_set_data(bio, &s);
  BIO_set_init(bio, 1);
  return bio;
}

int callbacks::bio_write(BIO* bio, const char* from, int size) {
  auto& s = *static_cast<session*>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  const auto sent = ::send(s.fd_, from, static_cast<std::size_t>(size), MSG_NOSIGNAL);
  if (sent > 0) s.counts_.out += static_cast<std::uint64_t>(sent);
  if (sent < 0 && (errno == EAGAIN || errno == EINTR)) BIO_set_retry_write(bio);
  return static_cast<int>(sent);
}

int callbacks::bio_read(BIO* bio, char* into, int size) {
  auto& s = *static_cast<session*>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  const auto got = ::recv(s.fd_, into, static_cast<std::size_t>(size), 0);
  if (got > 0) s.counts_.in += static_cast<std::uint64_t>(got);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) BIO_set_retry_read(bio);
  return static_cast<int>(got);
}

long callbacks::bio_control(BIO*, int command, long, void*) {
  return command == BIO_CTRL_FLUSH ? 1 : 0;
}

int callbacks::choose_protocol(
    SSL* ssl, const unsigned char** out, unsigned char* out_size, const unsigned char* in,
    unsigned in_size, void*) {
  auto& s = of(ssl);
  const auto mine = link_protocol(s.rules_->version);
  const std::string_view offered{reinterpret_cast<const char*>(in), in_size};
  for (std::size_t at = 0; at < offered.size(); at += 1 + in[at]) {
    const auto name = offered.substr(at + 1, in[at]);
    if (name == mine)
      s.purpose_ = purpose::link;
    else if (name == join_protocol && s.rules_->joins)
      s.purpose_ = purpose::join;
    else if (name.starts_with("dlls-link/"))
      s.purpose_ = purpose::other_version;  // accepted, so that it can be told why it is refused
    else
      continue;
    *out = in + at + 1;
    *out_size = in[at];
    if (s.purpose_ == purpose::join) {
      SSL_set_verify(ssl, SSL_VERIFY_NONE, nullptr);
      SSL_clear_mode(ssl, SSL_MODE_NO_AUTO_CHAIN);  // shows the CA, for the token's hash
    }
    return SSL_TLSEXT_ERR_OK;
  }
  s.refusal_ = error{errc::version_mismatch, "the peer offers no DLLS protocol"};
  return SSL_TLSEXT_ERR_ALERT_FATAL;
}

session& callbacks::of(X509_STORE_CTX* store) {
  return of(
      static_cast<SSL*>(X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx())));
}

int callbacks::refuse(X509_STORE_CTX* store, int code, error why) {
  of(store).refusal_ = std::move(why);
  X509_STORE_CTX_set_error(store, code);
  return 0;
}

int callbacks::verify_peer(int ok, X509_STORE_CTX* store) {
  auto& s = of(store);
  if (!ok) {
    const int code = X509_STORE_CTX_get_error(store);
    s.refusal_ = error{
        code == X509_V_ERR_INVALID_PURPOSE ? errc::permission_denied : errc::unauthenticated,
        fmt::format("the peer's certificate: {}", X509_verify_cert_error_string(code))};
    if (code == X509_V_ERR_CERT_NOT_YET_VALID || code == X509_V_ERR_CERT_HAS_EXPIRED)
      s.refusal_->hint = "are the clocks of both machines right?";
    if (code == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY ||
        code == X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN)
      s.refusal_->hint =
          "the node has joined another coordinator: `dlls node --rejoin` with a token of this one";
    return 0;
  }
  if (X509_STORE_CTX_get_error_depth(store) != 0) return 1;
  const auto identity = identity_of(X509_STORE_CTX_get_current_cert(store));
  if (!identity)
    return refuse(
        store, X509_V_ERR_APPLICATION_VERIFICATION,
        {errc::permission_denied, identity.error().message});
  if (identity->role != s.rules_->peer_role)
    return refuse(
        store, X509_V_ERR_APPLICATION_VERIFICATION,
        {errc::permission_denied, fmt::format(
                                      "the peer's certificate is for the role '{}', not '{}'",
                                      identity->role, s.rules_->peer_role)});
  return 1;
}

int callbacks::verify_by_fingerprint(X509_STORE_CTX* store, void*) {
  auto& s = of(store);
  const error other{
      errc::permission_denied, "this coordinator is not the one the token names",
      "check the address, or run `dlls enroll` on this coordinator for a token of its own"};
  auto* chain = X509_STORE_CTX_get0_untrusted(store);
  X509* authority = nullptr;
  for (int i = 0; i < sk_X509_num(chain); ++i)
    if (fingerprint_of(sk_X509_value(chain, i)) == s.rules_->ca_fingerprint)
      authority = sk_X509_value(chain, i);
  if (authority == nullptr) return refuse(store, X509_V_ERR_CERT_UNTRUSTED, other);

  owned<X509_STORE, X509_STORE_free> trusted{X509_STORE_new()};
  owned<X509_STORE_CTX, X509_STORE_CTX_free> check{X509_STORE_CTX_new()};
  auto* leaf = X509_STORE_CTX_get0_cert(store);
  if (!trusted || !check || X509_STORE_add_cert(trusted.get(), authority) != 1 ||
      X509_STORE_CTX_init(check.get(), trusted.get(), leaf, nullptr) != 1 ||
      X509_STORE_CTX_set_purpose(check.get(), X509_PURPOSE_SSL_SERVER) != 1 ||
      X509_verify_cert(check.get()) != 1)
    return refuse(store, X509_V_ERR_CERT_UNTRUSTED, other);
  const auto identity = identity_of(leaf);
  if (!identity || identity->role != s.rules_->peer_role)
    return refuse(store, X509_V_ERR_APPLICATION_VERIFICATION, other);
  s.authority_pem_ = pem_of(authority);
  X509_STORE_CTX_set_error(store, X509_V_OK);
  return 1;
}

}  // namespace dlls::runtime::link::detail

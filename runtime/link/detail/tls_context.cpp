// Contexts, identities and sockets: what stands before and beside a session.
#include <fmt/core.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>

#include <array>

#include "base/check.hpp"
#include "base/encoding.hpp"
#include "base/file.hpp"
#include "base/sha256.hpp"
#include "runtime/link/detail/tls.hpp"
#include "runtime/link/detail/tls_callbacks.hpp"

namespace dlls::runtime::link::detail {

using base::errc;
using base::error;

namespace {

std::shared_ptr<SSL_CTX> bare_context() {
  std::shared_ptr<SSL_CTX> shared{SSL_CTX_new(TLS_method()), SSL_CTX_free};
  auto* context = shared.get();
  base::check(context != nullptr, "out of memory for a TLS context");
  SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_num_tickets(context, 0);
  SSL_CTX_set_options(context, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION);
  SSL_CTX_set_mode(
      context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                   SSL_MODE_RELEASE_BUFFERS |
                   SSL_MODE_NO_AUTO_CHAIN);  // both ends of a link have the CA certificate
  return shared;
}

error bad_file(errc code, std::string_view what, const std::filesystem::path& path) {
  ERR_clear_error();
  return {
      code, fmt::format("{} '{}'", what, path.string()),
      "join the coordinator again, or restore the files from a backup"};
}

}  // namespace

base::result<std::shared_ptr<SSL_CTX>> link_context(const credentials& own) {
  for (const auto& path : {own.certificate, own.key, own.ca})
    if (auto readable = base::read_file(path, 1u << 20); !readable) return readable.error();
  auto shared = bare_context();
  auto* context = shared.get();
  SSL_CTX_set_alpn_select_cb(context, &callbacks::choose_protocol, nullptr);
  SSL_CTX_set_verify(
      context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, &callbacks::verify_peer);
  if (SSL_CTX_use_certificate_chain_file(context, own.certificate.c_str()) != 1)
    return bad_file(errc::invalid_argument, "no usable certificate in", own.certificate);
  if (SSL_CTX_use_PrivateKey_file(context, own.key.c_str(), SSL_FILETYPE_PEM) != 1 ||
      SSL_CTX_check_private_key(context) != 1)
    return bad_file(errc::invalid_argument, "no key for the certificate in", own.key);
  if (SSL_CTX_load_verify_locations(context, own.ca.c_str(), nullptr) != 1)
    return bad_file(errc::invalid_argument, "no usable CA certificate in", own.ca);
  return shared;
}

std::shared_ptr<SSL_CTX> join_context() {
  auto shared = bare_context();
  SSL_CTX_set_verify(shared.get(), SSL_VERIFY_PEER, nullptr);
  SSL_CTX_set_cert_verify_callback(shared.get(), &callbacks::verify_by_fingerprint, nullptr);
  return shared;
}

base::result<peer_identity> identity_of(X509* certificate) {
  constexpr std::string_view prefix = "dlls://role/";
  owned<GENERAL_NAMES, GENERAL_NAMES_free> names{static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr))};
  peer_identity found;
  int count = 0;
  for (int i = 0; names && i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const auto* name = sk_GENERAL_NAME_value(names.get(), i);
    if (name->type != GEN_URI) continue;
    const auto* text = name->d.uniformResourceIdentifier;
    const std::string uri(
        reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
        static_cast<std::size_t>(ASN1_STRING_length(text)));
    if (!uri.starts_with(prefix)) continue;
    const auto slash = uri.find('/', prefix.size());
    if (slash == uri.npos) continue;
    found = {uri.substr(prefix.size(), slash - prefix.size()), uri.substr(slash + 1)};
    ++count;
  }
  if (count != 1 || !is_name(found.role) || !is_name(found.name))
    return error{errc::invalid_argument, "the certificate has no single dlls://role/ROLE/NAME"};
  return found;
}

std::string fingerprint_of(X509* certificate) {
  unsigned char* der = nullptr;
  const int size = i2d_X509(certificate, &der);
  base::check(size > 0, "a parsed certificate can be written again");
  const auto digest =
      base::sha256_of(std::as_bytes(std::span{der, static_cast<std::size_t>(size)}));
  OPENSSL_free(der);
  return base::to_hex(digest);
}

std::string pem_of(X509* certificate) {
  owned<BIO, BIO_free_all> bio{BIO_new(BIO_s_mem())};
  base::check(
      bio && PEM_write_bio_X509(bio.get(), certificate) == 1, "a parsed certificate goes into PEM");
  char* bytes = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &bytes);
  return {bytes, static_cast<std::size_t>(size)};
}

std::string link_protocol(std::uint32_t version) { return fmt::format("dlls-link/{}", version); }

void tune(int fd, const socket_options& o) {
  const auto set = [fd](int level, int option, int value) {
    ::setsockopt(fd, level, option, &value, sizeof value);
  };
  set(SOL_SOCKET, SO_KEEPALIVE, 1);
  set(IPPROTO_TCP, TCP_KEEPIDLE, o.idle_s);
  set(IPPROTO_TCP, TCP_KEEPINTVL, o.interval_s);
  set(IPPROTO_TCP, TCP_KEEPCNT, o.count);
  set(IPPROTO_TCP, TCP_NODELAY, 1);
}

void set_user_timeout(int fd, int ms) {
  ::setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof ms);
}

void read_packets(int fd, traffic& into) {
  tcp_info info{};
  socklen_t size = sizeof info;
  if (::getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) return;
  into.packets_out = info.tcpi_segs_out;
  into.packets_in = info.tcpi_segs_in;
}

}  // namespace dlls::runtime::link::detail

namespace dlls::runtime::link {

bool is_name(std::string_view text) noexcept {
  if (text.empty() || text.size() > 63 || text.front() == '-' || text.back() == '-') return false;
  for (char c : text)
    if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-')) return false;
  return true;
}

base::result<> check_node_name(std::string_view text) {
  if (is_name(text)) return {};
  return base::error{
      base::errc::invalid_argument, fmt::format("'{}' is no name for a node", text),
      "1 to 63 of a-z, 0-9 and -, neither first nor last a hyphen"};
}

}  // namespace dlls::runtime::link

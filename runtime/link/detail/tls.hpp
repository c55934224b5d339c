// OpenSSL behind plain types: contexts, sessions, identities. Nothing else in this room that sees a
// network includes OpenSSL.
#pragma once
#include <openssl/ssl.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.hpp"
#include "runtime/link/connection.hpp"
#include "runtime/link/identity.hpp"

namespace dlls::runtime::link::detail {

template <auto Free>
struct freed_by {
  template <class T>
  void operator()(T* pointer) const noexcept {
    Free(pointer);
  }
};
template <class T, auto Free>
using owned = std::unique_ptr<T, freed_by<Free>>;
using context_ptr = owned<SSL_CTX, SSL_CTX_free>;
using certificate_ptr = owned<X509, X509_free>;

// Written by the thread that drives the session, read by anybody.
struct byte_counts {
  std::atomic<std::uint64_t> in{0};
  std::atomic<std::uint64_t> out{0};
};

// What a listener's clients may want, by the ALPN name that they offer.
enum class purpose : std::uint8_t { unknown, link, other_version, join };

// What a context's sessions share; lives as long as any of them.
struct tls_rules {
  std::string peer_role;       // the role that a linking peer's certificate must have
  std::uint32_t version = 0;   // "dlls-link/N"
  bool joins = false;          // listener: whether "dlls-join/1" is answered
  std::string ca_fingerprint;  // joining: the authority to believe, by its hash
};

// One TLS connection over a non-blocking socket that it does not own. One thread at a time.
class session {
 public:
  session(
      std::shared_ptr<SSL_CTX> context, std::shared_ptr<const tls_rules> rules, int fd,
      bool server);
  ~session();
  session(const session&) = delete;
  session& operator=(const session&) = delete;

  enum class step : std::uint8_t { done, want_read, want_write, closed, failed };

  step handshake();
  // `done` with `size` > 0; `size` may be less than asked for.
  step read(void* into, std::size_t size_max, std::size_t& size);
  step write(const void* from, std::size_t size_max, std::size_t& size);
  // Plain text or ciphertext of the peer that waits in memory, where no poll sees it.
  bool has_pending() const;
  // Reads as much ciphertext as there is in one call; only once nobody else reads the socket.
  void read_ahead();

  // After the handshake.
  purpose wanted() const noexcept { return purpose_; }
  const std::string& peer_version() const noexcept { return peer_version_; }
  const peer_identity& peer() const noexcept { return peer_; }
  const std::string& fingerprint() const noexcept { return fingerprint_; }
  // Joining: the certificate of the authority that the token names, in PEM.
  const std::string& authority_pem() const noexcept { return authority_pem_; }
  // The whole story of the last `failed` or `closed`, sorted into our codes.
  base::error failure() const;

  int fd() const noexcept { return fd_; }
  bool server() const noexcept { return server_; }
  const byte_counts& counts() const noexcept { return counts_; }

 private:
  friend struct callbacks;
  step classify(int result, bool in_handshake);
  std::string own_protocol() const;

  std::shared_ptr<SSL_CTX> context_;
  std::shared_ptr<const tls_rules> rules_;
  SSL* ssl_ = nullptr;
  int fd_;
  bool server_;
  byte_counts counts_;
  purpose purpose_ = purpose::unknown;
  std::string peer_version_;  // the ALPN name that the peer offered or chose
  peer_identity peer_;
  std::string fingerprint_;
  std::string authority_pem_;
  // How it ended: what the verify callback said, else OpenSSL's reason, else errno.
  std::optional<base::error> refusal_;
  unsigned long reason_ = 0;
  int errno_ = 0;
};

// Contexts. Errors as endpoint::listen and endpoint::dial state them.
base::result<std::shared_ptr<SSL_CTX>> link_context(const credentials& own);
// Shows nothing, believes only the authority of tls_rules::ca_fingerprint.
std::shared_ptr<SSL_CTX> join_context();

// The one URI name dlls://role/ROLE/NAME; invalid_argument when there is none or several.
base::result<peer_identity> identity_of(X509* certificate);
std::string fingerprint_of(X509* certificate);
std::string pem_of(X509* certificate);
// "dlls-link/5"
std::string link_protocol(std::uint32_t version);

inline constexpr std::string_view join_protocol = "dlls-join/1";

// Keepalive and TCP_USER_TIMEOUT of a connected socket; TCP_NODELAY.
struct socket_options {
  int idle_s = 0;
  int interval_s = 0;
  int count = 0;
};
void tune(int fd, const socket_options& o);
void set_user_timeout(int fd, int ms);  // 0 disarms
// Segments since the connection began; zeros where the kernel does not say.
void read_packets(int fd, traffic& into);

}  // namespace dlls::runtime::link::detail

// What OpenSSL calls back within a session: the socket, the choice of the protocol, the verdict on
// a certificate. Only tls*.cpp include this.
#pragma once
#include <openssl/ssl.h>

#include "runtime/link/detail/tls.hpp"

namespace dlls::runtime::link::detail {

struct callbacks {
  // Sends with MSG_NOSIGNAL and counts bytes.
  static BIO* make_bio(session& s);
  static int bio_write(BIO* bio, const char* from, int size);
  static int bio_read(BIO* bio, char* into, int size);
  static long bio_control(BIO* bio, int command, long, void*);

  // Server: takes the client's protocol, and lets a joining client show no certificate.
  static int choose_protocol(
      SSL* ssl, const unsigned char** out, unsigned char* out_size, const unsigned char* in,
      unsigned in_size, void*);
  // Both: after OpenSSL's own checks of each certificate, the role of the last.
  static int verify_peer(int ok, X509_STORE_CTX* store);
  // Joining: instead of OpenSSL's checks, the chain against the token's hash.
  static int verify_by_fingerprint(X509_STORE_CTX* store, void*);

 private:
  static session& of(SSL* ssl) { return *static_cast<session*>(SSL_get_app_data(ssl)); }
  static session& of(X509_STORE_CTX* store);
  static int refuse(X509_STORE_CTX* store, int code, base::error why);
};

}  // namespace dlls::runtime::link::detail

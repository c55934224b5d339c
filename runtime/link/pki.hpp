// The coordinator's own certificate authority: P-256 keys, X.509 v3, PEM files.
//
// Certificates carry one URI name, dlls://role/ROLE/NAME, and the extended key usage that fits the
// role (a coordinator serves, a node is a client), so that OpenSSL's purpose check is a second wall
// behind the role check.
#pragma once
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "runtime/link/identity.hpp"

namespace dlls::runtime::link {

// How long certificates hold. There is no renewal by itself: a node joins again.
inline constexpr int authority_days = 20 * 365;
inline constexpr int certificate_days = 5 * 365;

// Thread-safe after construction; owns the key in memory.
class authority {
 public:
  // Makes key (0600) and certificate, durably. already_exists when the folder has them.
  static base::result<std::shared_ptr<authority>> create(const std::filesystem::path& folder);
  // not_found when the folder has none, corrupt when key and certificate do not belong together.
  static base::result<std::shared_ptr<authority>> open(const std::filesystem::path& folder);
  static base::result<std::shared_ptr<authority>> open_or_create(
      const std::filesystem::path& folder);

  // A fresh key and certificate for this machine, in the authority's folder: coordinator.pem (both
  // in one file, 0600). An existing one that is still of this authority and name is kept.
  base::result<credentials> coordinator(const std::string& name);

  // Signs a request (PKCS#10, DER) as `who`; what the request itself asks for (names, extensions)
  // is ignored. Gives the certificate in PEM. invalid_argument for a request that does not parse,
  // whose own signature fails, or whose key is not P-256.
  base::result<std::string> sign(std::string_view request_der, const peer_identity& who) const;
  // The checks of sign() alone.
  base::result<> check_request(std::string_view request_der) const;

  // SHA-256 of the CA certificate (DER), 64 hexadecimal digits: what a join token carries.
  const std::string& fingerprint() const noexcept;
  // The CA certificate in PEM.
  const std::string& certificate() const noexcept;

  ~authority();

 private:
  struct keys;
  explicit authority(std::unique_ptr<keys> k);
  std::unique_ptr<keys> keys_;
};

// A new P-256 key and a request for a certificate of it.
struct certificate_request {
  std::string key_pem;
  std::string der;
};
certificate_request make_certificate_request();

// That `pem` is a certificate for the key of `request`, for `name`, signed by the authority of
// `ca_pem`; corrupt when not.
base::result<> check_issued(
    std::string_view pem, const certificate_request& request, std::string_view ca_pem,
    const std::string& name);

// SHA-256 of a certificate's DER, 64 hexadecimal digits. invalid_argument when `pem` is not one.
base::result<std::string> fingerprint_of(std::string_view pem);

}  // namespace dlls::runtime::link

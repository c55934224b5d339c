#include "runtime/link/pki.hpp"

#include <fmt/core.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include <array>

#include "base/check.hpp"
#include "base/file.hpp"
#include "runtime/link/detail/tls.hpp"

namespace dlls::runtime::link {

using base::errc;
using base::error;
using detail::certificate_ptr;
using detail::owned;
using detail::pem_of;

namespace {

using key_ptr = owned<EVP_PKEY, EVP_PKEY_free>;
using request_ptr = owned<X509_REQ, X509_REQ_free>;
using bio_ptr = owned<BIO, BIO_free_all>;

constexpr long day_s = 24 * 60 * 60;
constexpr std::size_t pem_bytes_max = 64u << 10;

// Only memory can run out behind these calls: their arguments are ours.
void must(bool done, const char* what) { base::check(done, what); }

key_ptr make_key() {
  key_ptr key{EVP_EC_gen("P-256")};
  must(key != nullptr, "make a P-256 key");
  return key;
}

std::string key_pem(EVP_PKEY* key) {
  bio_ptr bio{BIO_new(BIO_s_mem())};
  must(
      bio && PEM_write_bio_PrivateKey(bio.get(), key, nullptr, nullptr, 0, nullptr, nullptr) == 1,
      "write a key to memory");
  char* bytes = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &bytes);
  return {bytes, static_cast<std::size_t>(size)};
}

bio_ptr over(std::string_view text) {
  return bio_ptr{BIO_new_mem_buf(text.data(), static_cast<int>(text.size()))};
}
certificate_ptr read_certificate(std::string_view pem) {
  certificate_ptr found{PEM_read_bio_X509(over(pem).get(), nullptr, nullptr, nullptr)};
  ERR_clear_error();
  return found;
}
key_ptr read_key(std::string_view pem) {
  key_ptr found{PEM_read_bio_PrivateKey(over(pem).get(), nullptr, nullptr, nullptr)};
  ERR_clear_error();
  return found;
}

bool is_p256(EVP_PKEY* key) {
  std::array<char, 32> group{};
  std::size_t size = 0;
  return key && EVP_PKEY_get_id(key) == EVP_PKEY_EC &&
         EVP_PKEY_get_group_name(key, group.data(), group.size(), &size) == 1 &&
         std::string_view{group.data(), size} == "prime256v1";
}

void add_extension(X509* to, X509* issuer, int id, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, to, nullptr, nullptr, 0);
  owned<X509_EXTENSION, X509_EXTENSION_free> made{
      X509V3_EXT_conf_nid(nullptr, &context, id, value.c_str())};
  must(made && X509_add_ext(to, made.get(), -1) == 1, "add an extension to a certificate");
}

// A certificate without extensions, unsigned. Valid from a day ago: clocks at home are wrong.
certificate_ptr draft(EVP_PKEY* key, X509_NAME* issuer, const std::string& name, int days) {
  certificate_ptr made{X509_new()};
  must(made != nullptr, "make a certificate");
  auto* x = made.get();
  X509_set_version(x, X509_VERSION_3);
  owned<BIGNUM, BN_free> serial{BN_new()};
  // Positive and below 20 bytes (RFC 5280, 4.1.2.2).
  must(serial && BN_rand(serial.get(), 127, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) == 1, "a serial");
  BN_to_ASN1_INTEGER(serial.get(), X509_get_serialNumber(x));
  X509_gmtime_adj(X509_getm_notBefore(x), -day_s);
  X509_gmtime_adj(X509_getm_notAfter(x), days * day_s);
  X509_set_pubkey(x, key);
  X509_NAME_add_entry_by_txt(
      X509_get_subject_name(x), "CN", MBSTRING_UTF8,
      reinterpret_cast<const unsigned char*>(name.data()), static_cast<int>(name.size()), -1, 0);
  X509_set_issuer_name(x, issuer ? issuer : X509_get_subject_name(x));
  return made;
}

void sign_with(X509* certificate, EVP_PKEY* key) {
  must(X509_sign(certificate, key, EVP_sha256()) > 0, "sign a certificate");
}

base::result<request_ptr> read_request(std::string_view der) {
  const auto* at = reinterpret_cast<const unsigned char*>(der.data());
  const auto* end = at + der.size();
  request_ptr request{d2i_X509_REQ(nullptr, &at, static_cast<long>(der.size()))};
  auto* key = request ? X509_REQ_get0_pubkey(request.get()) : nullptr;
  const bool sound =
      request && at == end && is_p256(key) && X509_REQ_verify(request.get(), key) == 1;
  ERR_clear_error();
  if (!sound) return error{errc::invalid_argument, "not a sound certificate request for P-256"};
  return request;
}

}  // namespace

struct authority::keys {
  std::filesystem::path folder;
  key_ptr key;
  certificate_ptr certificate;
  std::string pem;
  std::string fingerprint;
};

authority::authority(std::unique_ptr<keys> k) : keys_(std::move(k)) {
  keys_->pem = pem_of(keys_->certificate.get());
  keys_->fingerprint = detail::fingerprint_of(keys_->certificate.get());
}
authority::~authority() = default;

const std::string& authority::fingerprint() const noexcept { return keys_->fingerprint; }
const std::string& authority::certificate() const noexcept { return keys_->pem; }

base::result<std::shared_ptr<authority>> authority::create(const std::filesystem::path& folder) {
  const auto key_path = folder / "ca.key", certificate_path = folder / "ca.pem";
  std::error_code ignored;
  if (std::filesystem::exists(key_path, ignored) ||
      std::filesystem::exists(certificate_path, ignored))
    return error{
        errc::already_exists, fmt::format("'{}' already has an authority", folder.string())};
  if (auto made = base::make_folder(folder); !made) return made.error();
  auto k = std::make_unique<keys>();
  k->folder = folder;
  k->key = make_key();
  k->certificate = draft(k->key.get(), nullptr, "DLLS coordinator's authority", authority_days);
  auto* x = k->certificate.get();
  add_extension(x, x, NID_basic_constraints, "critical,CA:TRUE,pathlen:0");
  add_extension(x, x, NID_key_usage, "critical,keyCertSign,cRLSign");
  add_extension(x, x, NID_subject_key_identifier, "hash");
  sign_with(x, k->key.get());
  // The certificate last: with it there, everything is.
  if (auto w = base::write_file_durably(key_path, key_pem(k->key.get()), 0600); !w)
    return w.error();
  if (auto w = base::write_file_durably(certificate_path, pem_of(x)); !w) return w.error();
  return std::shared_ptr<authority>(new authority(std::move(k)));
}

base::result<std::shared_ptr<authority>> authority::open(const std::filesystem::path& folder) {
  auto key = base::read_file(folder / "ca.key", pem_bytes_max);
  if (!key) return key.error();
  auto certificate = base::read_file(folder / "ca.pem", pem_bytes_max);
  if (!certificate) return certificate.error();
  auto k = std::make_unique<keys>();
  k->folder = folder;
  k->key = read_key(*key);
  k->certificate = read_certificate(*certificate);
  if (!k->key || !k->certificate ||
      X509_check_private_key(k->certificate.get(), k->key.get()) != 1) {
    ERR_clear_error();
    return error{
        errc::corrupt, fmt::format("ca.key and ca.pem in '{}' do not fit", folder.string()),
        "restore both from a backup; every node must join again if there is none"};
  }
  return std::shared_ptr<authority>(new authority(std::move(k)));
}

base::result<std::shared_ptr<authority>> authority::open_or_create(
    const std::filesystem::path& folder) {
  auto opened = open(folder);
  std::error_code ignored;
  if (opened || opened.error().code != errc::not_found ||
      std::filesystem::exists(folder / "ca.pem", ignored))
    return opened;
  // A key alone is what a crash within create() leaves. Set aside, in case it is not that.
  std::filesystem::rename(folder / "ca.key", folder / "ca.key.unused", ignored);
  return create(folder);
}

base::result<> authority::check_request(std::string_view request_der) const {
  auto request = read_request(request_der);
  if (!request) return request.error();
  return {};
}

namespace {

// Any certificate below the authority: what it may be used for follows from the role.
certificate_ptr certify(EVP_PKEY* subject, const peer_identity& who, X509* ca, EVP_PKEY* ca_key) {
  auto made = draft(subject, X509_get_subject_name(ca), who.text(), certificate_days);
  auto* x = made.get();
  add_extension(x, ca, NID_basic_constraints, "critical,CA:FALSE");
  add_extension(x, ca, NID_key_usage, "critical,digitalSignature");
  add_extension(x, ca, NID_ext_key_usage, who.role == "coordinator" ? "serverAuth" : "clientAuth");
  add_extension(
      x, ca, NID_subject_alt_name, fmt::format("URI:dlls://role/{}/{}", who.role, who.name));
  add_extension(x, ca, NID_authority_key_identifier, "keyid:always");
  sign_with(x, ca_key);
  return made;
}

}  // namespace

base::result<std::string> authority::sign(
    std::string_view request_der, const peer_identity& who) const {
  if (!is_name(who.role) || !is_name(who.name))
    return error{errc::invalid_argument, fmt::format("'{}' is no name", who.text())};
  auto request = read_request(request_der);
  if (!request) return request.error();
  return pem_of(
      certify(X509_REQ_get0_pubkey(request->get()), who, keys_->certificate.get(), keys_->key.get())
          .get());
}

base::result<credentials> authority::coordinator(const std::string& name) {
  if (!is_name(name)) return error{errc::invalid_argument, fmt::format("'{}' is no name", name)};
  const auto path = keys_->folder / "coordinator.pem";
  const credentials files{path, path, keys_->folder / "ca.pem"};
  if (const auto old = base::read_file(path, pem_bytes_max)) {
    const auto certificate = read_certificate(*old);
    const auto who =
        certificate ? detail::identity_of(certificate.get()) : base::result<peer_identity>{error{}};
    const bool ours = who && who->name == name &&
                      X509_verify(certificate.get(), keys_->key.get()) == 1 &&
                      X509_cmp_current_time(X509_get0_notAfter(certificate.get())) > 0;
    ERR_clear_error();
    if (ours) return files;
  }
  const auto key = make_key();
  const auto made =
      certify(key.get(), {"coordinator", name}, keys_->certificate.get(), keys_->key.get());
  if (auto w = base::write_file_durably(path, pem_of(made.get()) + key_pem(key.get()), 0600); !w)
    return w.error();
  return files;
}

certificate_request make_certificate_request() {
  const auto key = make_key();
  request_ptr request{X509_REQ_new()};
  must(
      request && X509_REQ_set_pubkey(request.get(), key.get()) == 1 &&
          X509_REQ_sign(request.get(), key.get(), EVP_sha256()) > 0,
      "make a certificate request");
  unsigned char* der = nullptr;
  const int size = i2d_X509_REQ(request.get(), &der);
  must(size > 0, "write a certificate request");
  certificate_request made{
      key_pem(key.get()), {reinterpret_cast<const char*>(der), static_cast<std::size_t>(size)}};
  OPENSSL_free(der);
  return made;
}

base::result<> check_issued(
    std::string_view pem, const certificate_request& request, std::string_view ca_pem,
    const std::string& name) {
  const auto certificate = read_certificate(pem), ca = read_certificate(ca_pem);
  const auto key = read_key(request.key_pem);
  const auto who =
      certificate ? detail::identity_of(certificate.get()) : base::result<peer_identity>{error{}};
  const bool fits = certificate && ca && key && who && who->name == name &&
                    X509_verify(certificate.get(), X509_get0_pubkey(ca.get())) == 1 &&
                    X509_check_private_key(certificate.get(), key.get()) == 1;
  ERR_clear_error();
  if (!fits) return error{errc::corrupt, "the coordinator sent a certificate that does not fit"};
  return {};
}

base::result<std::string> fingerprint_of(std::string_view pem) {
  const auto certificate = read_certificate(pem);
  if (!certificate) return error{errc::invalid_argument, "not a certificate in PEM"};
  return detail::fingerprint_of(certificate.get());
}

}  // namespace dlls::runtime::link

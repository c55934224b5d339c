#include "base/sha256.hpp"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <algorithm>

#include <fstream>
#include <vector>

#include "base/check.hpp"
#include "base/encoding.hpp"

namespace dlls::base {

struct sha256::context {
  EVP_MD_CTX* evp = EVP_MD_CTX_new();
  ~context() { EVP_MD_CTX_free(evp); }
};

sha256::sha256() : context_(std::make_unique<context>()) {
  check(
      context_->evp && EVP_DigestInit_ex(context_->evp, EVP_sha256(), nullptr) == 1,
      "OpenSSL has SHA-256");
}
sha256::~sha256() = default;
sha256::sha256(sha256&&) noexcept = default;
sha256& sha256::operator=(sha256&&) noexcept = default;

void sha256::update(std::span<const std::byte> bytes) {
  check(EVP_DigestUpdate(context_->evp, bytes.data(), bytes.size()) == 1, "a digest takes bytes");
}

sha256_digest sha256::finish() {
  sha256_digest digest;
  check(
      EVP_DigestFinal_ex(context_->evp, reinterpret_cast<unsigned char*>(digest.data()), nullptr) ==
          1,
      "a digest ends once");
  return digest;
}

sha256_digest sha256_of(std::span<const std::byte> bytes) {
  sha256 hash;
  hash.update(bytes);
  return hash.finish();
}

std::string sha256_hex(std::string_view text) {
  return to_hex(sha256_of(std::as_bytes(std::span{text})));
}

result<std::string> sha256_file(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return errno_error("open " + path.string());
  sha256 hash;
  std::vector<char> buffer(1 << 18);
  while (in.read(buffer.data(), static_cast<std::streamsize>(buffer.size())) || in.gcount() > 0)
    hash.update(std::string_view{buffer.data(), static_cast<std::size_t>(in.gcount())});
  if (in.bad()) return errno_error("read " + path.string());
  return to_hex(hash.finish());
}

sha256_digest hmac_sha256(std::string_view key, std::string_view text) {
  sha256_digest digest;
  unsigned size = 0;
  const auto* done = HMAC(
      EVP_sha256(), key.data(), static_cast<int>(key.size()),
      reinterpret_cast<const unsigned char*>(text.data()), text.size(),
      reinterpret_cast<unsigned char*>(digest.data()), &size);
  check(done && size == digest.size(), "OpenSSL has HMAC-SHA-256");
  return digest;
}

bool equal_constant_time(std::string_view a, std::string_view b) noexcept {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

bool is_sha256(std::string_view text) noexcept {
  return text.size() == 64 && std::ranges::all_of(text, [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

}  // namespace dlls::base

// SHA-256 (FIPS 180-4), by OpenSSL. Checksums of artifacts, hashes of keys and tokens.
#pragma once
#include <array>
#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/error.hpp"

namespace dlls::base {

using sha256_digest = std::array<std::byte, 32>;

// Incremental; movable, one thread at a time.
class sha256 {
 public:
  sha256();
  ~sha256();
  sha256(sha256&&) noexcept;
  sha256& operator=(sha256&&) noexcept;
  void update(std::span<const std::byte> bytes);
  void update(std::string_view text) { update(std::as_bytes(std::span{text})); }
  // Ends the computation; the object may then only be destroyed or assigned to.
  sha256_digest finish();

 private:
  struct context;
  std::unique_ptr<context> context_;
};

sha256_digest sha256_of(std::span<const std::byte> bytes);
// 64 lower-case hexadecimal digits.
std::string sha256_hex(std::string_view text);
// True for 64 lower-case hexadecimal digits.
bool is_sha256(std::string_view text) noexcept;
// Reads the file in pieces of constant size.
result<std::string> sha256_file(const std::filesystem::path& path);

// HMAC-SHA-256 (RFC 2104).
sha256_digest hmac_sha256(std::string_view key, std::string_view text);

// Compares without leaking the place of the first difference; false for unequal lengths.
bool equal_constant_time(std::string_view a, std::string_view b) noexcept;

}  // namespace dlls::base

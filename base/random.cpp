#include "base/random.hpp"

#include <sys/random.h>

#include <cerrno>

#include "base/check.hpp"

namespace dlls::base {

void secure_random(std::span<std::byte> out) noexcept {
  while (!out.empty()) {
    const auto got = ::getrandom(out.data(), out.size(), 0);
    if (got < 0 && errno == EINTR) continue;
    check(got > 0, "the kernel gives random bytes");
    out = out.subspan(static_cast<std::size_t>(got));
  }
}

std::uint64_t secure_random_u64() noexcept {
  std::uint64_t value = 0;
  secure_random(std::as_writable_bytes(std::span{&value, 1}));
  return value;
}

std::string random_id(std::string_view prefix) {
  constexpr std::string_view alphabet = "abcdefghijklmnopqrstuvwxyz0123456789";
  constexpr int length = 26;
  std::string id{prefix};
  while (id.size() < prefix.size() + length) {
    std::byte draw[32];
    secure_random(draw);
    for (auto b : draw) {
      const auto v = static_cast<unsigned>(b);
      // 252 = 7 * 36: refusing the rest keeps the characters uniform.
      if (v < 252 && id.size() < prefix.size() + length) id += alphabet[v % 36];
    }
  }
  return id;
}

}  // namespace dlls::base

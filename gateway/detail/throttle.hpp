// Tells those who guess keys to slow down, and keeps them out of the log: a bucket of failures for
// each address. A right key always opens.
#pragma once
#include <chrono>
#include <cstddef>
#include <string>
#include <unordered_map>

namespace dlls::gateway::detail {

// One thread. Memory is bounded: with `addresses_max` remembered, the one longest unseen is
// forgotten.
class auth_throttle {
 public:
  static constexpr double failures_max = 10;
  static constexpr std::chrono::milliseconds forgiven_every{6'000};
  static constexpr std::size_t addresses_max = 1024;

  // False: this address has failed too often lately; its next failure is answered 429, and neither
  // logged nor counted.
  bool may_try(const std::string& address, std::chrono::milliseconds now) const;
  void failed(const std::string& address, std::chrono::milliseconds now);

 private:
  struct bucket {
    double failures = 0;
    std::chrono::milliseconds at{0};
    double now_holds(std::chrono::milliseconds now) const;
  };
  std::unordered_map<std::string, bucket> buckets_;
};

// What counts as one client: an IPv4 address, or the /64 of an IPv6 address, since whoever has one
// such address has all of them. Other text is taken as it is, cut to 64 characters.
std::string throttle_key(const std::string& address);

}  // namespace dlls::gateway::detail

#include "gateway/detail/throttle.hpp"

#include <algorithm>
#include <boost/asio/ip/address.hpp>

namespace dlls::gateway::detail {

double auth_throttle::bucket::now_holds(std::chrono::milliseconds now) const {
  const auto forgiven = static_cast<double>((now - at).count()) / forgiven_every.count();
  return std::max(0.0, failures - forgiven);
}

bool auth_throttle::may_try(const std::string& address, std::chrono::milliseconds now) const {
  const auto found = buckets_.find(address);
  return found == buckets_.end() || found->second.now_holds(now) < failures_max;
}

void auth_throttle::failed(const std::string& address, std::chrono::milliseconds now) {
  if (!buckets_.contains(address) && buckets_.size() >= addresses_max) {
    const auto oldest = std::min_element(
        buckets_.begin(), buckets_.end(),
        [](const auto& a, const auto& b) { return a.second.at < b.second.at; });
    buckets_.erase(oldest);
  }
  auto& bucket = buckets_[address];
  bucket = {bucket.now_holds(now) + 1, now};
}

std::string throttle_key(const std::string& address) {
  boost::system::error_code ec;
  const auto parsed = boost::asio::ip::make_address(address, ec);
  if (ec) return address.substr(0, 64);
  if (parsed.is_v4()) return address;
  const auto v6 = parsed.to_v6();
  if (v6.is_v4_mapped())
    return boost::asio::ip::make_address_v4(boost::asio::ip::v4_mapped, v6).to_string();
  auto bytes = v6.to_bytes();
  std::fill(bytes.begin() + 8, bytes.end(), 0);
  return boost::asio::ip::address_v6{bytes}.to_string();
}

}  // namespace dlls::gateway::detail

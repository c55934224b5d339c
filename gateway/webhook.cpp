#include "gateway/webhook.hpp"

#include <fmt/core.h>

#include <array>
#include <boost/asio/ip/address.hpp>
#include <boost/asio/ip/network_v4.hpp>
#include <boost/asio/ip/network_v6.hpp>

#include "base/encoding.hpp"
#include "base/random.hpp"
#include "base/sha256.hpp"
#include "gateway/detail/text.hpp"
#include "gateway/json_document.hpp"

namespace dlls::gateway {
namespace ip = boost::asio::ip;
namespace {

using namespace std::chrono_literals;

constexpr std::string_view secret_prefix = "whsec_";
constexpr std::size_t secret_bytes_min = 24;
constexpr std::size_t secret_bytes_max = 64;
constexpr std::size_t secret_bytes_new = 32;

// Standard Webhooks' suggestion; the first try is at once.
constexpr std::array<std::chrono::milliseconds, 9> retry_after{5s,  5min, 30min, 2h, 5h,
                                                               10h, 14h,  20h,   24h};
constexpr double jitter = 0.1;

base::result<std::vector<std::byte>> key_of(std::string_view secret) {
  const base::error wrong{
      base::errc::invalid_argument,
      "a webhook secret is 'whsec_' and the base64 of 24 to 64 bytes"};
  if (!secret.starts_with(secret_prefix)) return wrong;
  auto key = base::from_base64(secret.substr(secret_prefix.size()));
  if (!key || key->size() < secret_bytes_min || key->size() > secret_bytes_max) return wrong;
  return key;
}

// IANA's special-purpose registry for IPv4, without what is globally reachable in it.
bool is_public_v4(const ip::address_v4& address) {
  static const std::array special{
      ip::make_network_v4("0.0.0.0/8"),      ip::make_network_v4("10.0.0.0/8"),
      ip::make_network_v4("100.64.0.0/10"),  ip::make_network_v4("127.0.0.0/8"),
      ip::make_network_v4("169.254.0.0/16"), ip::make_network_v4("172.16.0.0/12"),
      ip::make_network_v4("192.0.0.0/24"),   ip::make_network_v4("192.0.2.0/24"),
      ip::make_network_v4("192.88.99.0/24"), ip::make_network_v4("192.168.0.0/16"),
      ip::make_network_v4("198.18.0.0/15"),  ip::make_network_v4("198.51.100.0/24"),
      ip::make_network_v4("203.0.113.0/24"), ip::make_network_v4("224.0.0.0/4"),
      ip::make_network_v4("240.0.0.0/4")};
  for (const auto& net : special)
    if ((address.to_uint() & net.netmask().to_uint()) == net.network().to_uint()) return false;
  return true;
}

bool starts_with_bits(const ip::address_v6& address, const ip::network_v6& net) {
  const auto a = address.to_bytes(), b = net.network().to_bytes();
  for (int bit = 0; bit < net.prefix_length(); ++bit) {
    const auto at = static_cast<std::size_t>(bit / 8);
    const int mask = 0x80 >> (bit % 8);
    if ((a[at] & mask) != (b[at] & mask)) return false;
  }
  return true;
}

// All public unicast is in 2000::/3; in it, the protocol assignments (Teredo and ORCHID among
// them), 6to4 and the documentation prefixes are not.
bool is_public_v6(const ip::address_v6& address) {
  static const auto unicast = ip::make_network_v6("2000::/3");
  static const std::array special{
      ip::make_network_v6("2001::/23"), ip::make_network_v6("2001:db8::/32"),
      ip::make_network_v6("2002::/16"), ip::make_network_v6("3fff::/20")};
  if (!starts_with_bits(address, unicast)) return false;
  for (const auto& net : special)
    if (starts_with_bits(address, net)) return false;
  return true;
}

}  // namespace

std::string new_webhook_secret() {
  std::array<std::byte, secret_bytes_new> bytes;
  base::secure_random(bytes);
  return std::string{secret_prefix} + base::to_base64(bytes);
}

base::result<std::string> sign_webhook(
    std::string_view secret, std::string_view id, std::int64_t timestamp_s, std::string_view body) {
  const auto key = key_of(secret);
  if (!key) return key.error();
  const std::string_view raw{reinterpret_cast<const char*>(key->data()), key->size()};
  const auto digest = base::hmac_sha256(raw, fmt::format("{}.{}.{}", id, timestamp_s, body));
  return "v1," + base::to_base64(digest);
}

bool verify_webhook(
    std::string_view secret, std::string_view id, std::int64_t timestamp_s, std::string_view body,
    std::string_view signatures, std::int64_t now_s, std::int64_t tolerance_s) {
  const auto expected = sign_webhook(secret, id, timestamp_s, body);
  if (!expected || timestamp_s < now_s - tolerance_s || timestamp_s > now_s + tolerance_s)
    return false;
  bool matches = false;
  while (!signatures.empty()) {
    const auto end = std::min(signatures.find(' '), signatures.size());
    matches |= base::equal_constant_time(signatures.substr(0, end), *expected);
    signatures.remove_prefix(std::min(end + 1, signatures.size()));
  }
  return matches;
}

std::string webhook_event_body(
    std::string_view event_id, std::string_view type, std::int64_t created_s,
    std::string_view object_id) {
  return fmt::format(
      R"({{"id":{},"object":"event","created_at":{},"type":{},"data":{{"id":{}}}}})",
      json_quoted(event_id), created_s, json_quoted(type), json_quoted(object_id));
}

std::optional<std::chrono::milliseconds> webhook_retry_delay(unsigned attempt, double chance) {
  if (attempt < 1 || attempt > retry_after.size()) return std::nullopt;
  const auto delay = retry_after[attempt - 1];
  const auto extra = static_cast<double>(delay.count()) * jitter * chance;
  return delay + std::chrono::milliseconds{static_cast<std::int64_t>(extra)};
}

base::result<> check_webhook_url(std::string_view text, bool allow_private) {
  const auto where = detail::parse_url(text);
  if (!where) return where.error();
  if (!where->tls && !allow_private)
    return base::error{
        base::errc::invalid_argument, "a webhook's URL must start with https://",
        "plain http needs allow_private, for machines of your own"};
  boost::system::error_code not_an_address;
  ip::make_address(where->host, not_an_address);
  if (!not_an_address && !allow_private && !is_public_address(where->host))
    return base::error{
        base::errc::permission_denied,
        "a webhook must not go to the private address " + where->host,
        "allow_private lifts this, for machines of your own"};
  return {};
}

bool is_public_address(std::string_view address) {
  boost::system::error_code ec;
  const auto parsed = ip::make_address(std::string{address}, ec);
  if (ec) return false;
  return parsed.is_v4() ? is_public_v4(parsed.to_v4()) : is_public_v6(parsed.to_v6());
}

}  // namespace dlls::gateway

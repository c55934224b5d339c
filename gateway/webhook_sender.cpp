#include <fmt/core.h>

#include <algorithm>

#include "gateway/detail/outbound.hpp"
#include "gateway/webhook.hpp"

namespace dlls::gateway {
namespace {

constexpr std::size_t answer_bytes_max = 16u << 10;
// Once the status is known the rest only keeps the receiver from seeing a reset.
constexpr auto answer_time_max = std::chrono::milliseconds{2'000};
constexpr std::uint64_t retry_after_s_max = 86'400;

// One resolution decides: what it gives is checked, and what is checked is connected to, so a name
// that changes its mind in between (DNS rebinding) gains nothing.
base::result<std::vector<std::string>> guarded_addresses(
    const detail::url& where, bool allow_private) {
  auto addresses = detail::resolve(where.host);
  if (!addresses || allow_private) return addresses;
  for (const auto& address : *addresses)
    if (!is_public_address(address))
      return base::error{
          base::errc::permission_denied,
          fmt::format("the webhook's host {} leads to the private address {}", where.host, address),
          "allow_private lifts this, for machines of your own"};
  return addresses;
}

void drain(detail::outbound& connection, std::chrono::steady_clock::time_point deadline) {
  connection.set_deadline(std::min(deadline, std::chrono::steady_clock::now() + answer_time_max));
  for (std::size_t total = 0; total < answer_bytes_max;) {
    const auto piece = connection.read_body();
    if (!piece || piece->empty()) return;
    total += piece->size();
  }
}

}  // namespace

base::result<webhook_outcome> send_webhook(
    const webhook_target& target, const webhook_message& message, std::int64_t now_s,
    const webhook_options& options) {
  if (const auto ok = check_webhook_url(target.url, target.allow_private); !ok) return ok.error();
  const auto where = detail::parse_url(target.url);
  if (!where) return where.error();
  const auto signature = sign_webhook(target.secret, message.id, now_s, message.body);
  if (!signature) return signature.error();
  const auto addresses = guarded_addresses(*where, target.allow_private);
  if (!addresses) return addresses.error();

  const auto deadline = std::chrono::steady_clock::now() + options.timeout;
  auto connected = detail::outbound::connect(*where, *addresses, options.ca_file, deadline);
  if (!connected) return connected.error();
  auto& connection = **connected;
  const auto request = fmt::format(
      "POST {} HTTP/1.1\r\nhost: {}\r\nuser-agent: dlls\r\ncontent-type: application/json\r\n"
      "content-length: {}\r\nconnection: close\r\nwebhook-id: {}\r\nwebhook-timestamp: {}\r\n"
      "webhook-signature: {}\r\n\r\n{}",
      where->target, where->host_field(), message.body.size(), message.id, now_s, *signature,
      message.body);
  if (const auto ok = connection.write(request); !ok) return ok.error();
  const auto head = connection.read_head();
  if (!head) return head.error();
  drain(connection, deadline);

  webhook_outcome out;
  out.status = head->status;
  out.delivered = head->status / 100 == 2;
  out.disable = head->status == 410;
  if (const auto wait = detail::parse_unsigned(head->retry_after))
    out.retry_after = std::chrono::seconds{std::min(*wait, retry_after_s_max)};
  return out;
}

}  // namespace dlls::gateway

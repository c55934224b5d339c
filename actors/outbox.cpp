#include "actors/outbox.hpp"

#include <algorithm>
#include <boost/json.hpp>
#include <utility>

#include "actors/cloud_backend.hpp"
#include "actors/wire_json.hpp"
#include "base/log.hpp"

namespace dlls::actors {
using base::errc;
using base::error;
using base::failure;
using base::result;
using namespace std::chrono_literals;
using std::chrono::milliseconds;

namespace {

// A sender that dies leaves its rows to be claimed again after this.
constexpr milliseconds hold = 60s;
constexpr std::uint32_t rows_at_a_time = 16;
// A ledger that does not answer, or whose disk is full, is asked again after this, twice as long
// each time. What is due stays due meanwhile: its time would make us ask without pause.
constexpr milliseconds back_off_first = 5s;
constexpr milliseconds back_off_most = 5min;

result<gateway::webhook_target> target_from(const std::optional<std::string>& setting) {
  auto value = setting && !setting->empty()
                   ? parse_json(*setting)
                   : result<boost::json::value>{error{errc::not_found, ""}};
  const auto* members = value ? value->if_object() : nullptr;
  const auto* enabled = members ? members->if_contains("enabled") : nullptr;
  if (!members || (enabled && enabled->is_bool() && !enabled->get_bool()))
    return error{errc::not_found, "no webhook endpoint"};
  gateway::webhook_target target;
  auto url = text_member(*value, "url");
  auto secret = text_member(*value, "secret");
  if (!url || !secret) return error{errc::not_found, "no webhook endpoint"};
  target.url = *url;
  target.secret = *secret;
  const auto* allowed = members->if_contains("allow_private");
  target.allow_private = allowed && allowed->is_bool() && allowed->get_bool();
  return target;
}

}  // namespace

outbox::outbox(caf::actor_config& config, outbox_services services)
    : co_actor(config),
      services_(std::move(services)),
      ledger_(this, services_.jobs),
      random_(services_.seed) {}

outbox::behavior_type outbox::make_behavior() {
  tasks().spawn(send_all());
  return {serve(&outbox::look)};
}

void outbox::look(wake) {
  looked_ = true;
  if (auto waiting = std::exchange(wake_, std::nullopt)) (*waiting)(true);
}

runtime::task<> outbox::send_all() {
  auto back_off = back_off_first;
  for (;;) {
    looked_ = false;
    const bool claimed = co_await send_due();
    if (looked_) continue;
    auto due = co_await ledger_.next_due();
    // Without a row, a day; somebody wakes us before that.
    milliseconds pause = 24h;
    if (!claimed || !due)
      pause = std::exchange(back_off, std::min(back_off * 2, back_off_most));
    else
      back_off = back_off_first;
    if (claimed && due && *due)
      pause = std::clamp<milliseconds>(milliseconds{**due} - services_.clock->wall(), 1ms, 24h);
    if (looked_) continue;
    try {
      auto keep = [this](runtime::resolver<bool> wake) { wake_ = std::move(wake); };
      co_await runtime::completion<bool>(this, pause, keep);
    } catch (const failure& f) {
      if (f.why().code != errc::deadline_exceeded) throw;
    }
    wake_.reset();
  }
}

// False when the ledger did not let us look.
runtime::task<bool> outbox::send_due() {
  for (;;) {
    const auto now_ms = services_.clock->wall().count();
    auto rows = co_await ledger_.claim_due(now_ms, hold.count(), rows_at_a_time);
    if (!rows) {
      base::log_warning("outbox", "the ledger gives no rows: {}", rows.error().text());
      co_return false;
    }
    if (rows->empty()) co_return true;
    for (auto& row : *rows) co_await send_one(std::move(row));
  }
}

runtime::task<> outbox::send_one(ledger::outbox_row row) {
  auto setting = co_await ledger_.get_setting(webhook_setting(row.owner));
  if (!setting) co_return;  // the hold ends by itself
  auto target = target_from(*setting);
  if (!target) {
    co_await ledger_.mark_failed(row.id, std::nullopt, "no webhook endpoint is registered");
    co_return;
  }
  gateway::webhook_message message;
  message.id = row.id;
  message.body = row.payload_json;
  auto work = [deliver = services_.deliver, to = *target, message,
               now_s = services_.clock->wall_s()] { return deliver(to, message, now_s); };
  auto sent = co_await runtime::offload(this, *services_.network, work);
  if (sent && sent->delivered) {
    base::log_info("outbox", "{} delivered ({})", row.id, row.type);
    co_await ledger_.mark_sent(row.id);
    co_return;
  }
  const auto why =
      sent ? fmt::format("the receiver answered {}", sent->status) : sent.error().text();
  auto next = gateway::webhook_retry_delay(row.attempts, random_.uniform());
  if ((sent && sent->disable) || !next) {
    base::log_error("outbox", "{} is given up: {}", row.id, why);
    co_await ledger_.mark_failed(row.id, std::nullopt, why);
    co_return;
  }
  auto delay = *next;
  if (sent && sent->retry_after) delay = std::max<milliseconds>(delay, *sent->retry_after);
  base::log_warning(
      "outbox", "{} not delivered, again in {} s: {}", row.id, delay.count() / 1000, why);
  co_await ledger_.mark_failed(row.id, services_.clock->wall().count() + delay.count(), why);
}

}  // namespace dlls::actors

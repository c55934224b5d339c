#include <fmt/core.h>

#include <algorithm>
#include <boost/beast/http/status.hpp>
#include <ctime>
#include <utility>

#include "base/log.hpp"
#include "gateway/detail/session.hpp"

namespace dlls::gateway::detail {
namespace {

using std::chrono::steady_clock;

constexpr std::size_t transfer_bytes = 64u << 10;
constexpr std::chrono::milliseconds forever = std::chrono::hours{24 * 365};

// RFC 9110, 5.6.7: "Sun, 06 Nov 1994 08:49:37 GMT".
std::string http_date(std::int64_t unix_s) {
  const std::time_t when = unix_s;
  std::tm utc{};
  ::gmtime_r(&when, &utc);
  char text[40];
  const auto size = std::strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &utc);
  return {text, size};
}

std::string chunk(std::string_view bytes) {
  return fmt::format("{:x}\r\n{}\r\n", bytes.size(), bytes);
}

}  // namespace

asio::awaitable<void> session::sleep_until(steady_clock::time_point when) {
  wake_.expires_at(when);
  co_await client_->wait(wake_);
}

std::string session::head_text(const response& what, framing how, std::uint64_t bytes) const {
  const auto spent =
      std::chrono::duration_cast<std::chrono::milliseconds>(steady_clock::now() - began_);
  const auto reason =
      boost::beast::http::obsolete_reason(boost::beast::http::int_to_status(what.status));
  auto text = fmt::format(
      "HTTP/1.1 {} {}\r\ndate: {}\r\nx-request-id: {}\r\nopenai-processing-ms: {}\r\n"
      "content-type: {}\r\ncache-control: no-store\r\nx-content-type-options: nosniff\r\n",
      what.status, std::string_view{reason.data(), reason.size()},
      http_date(shared_.options.clock->wall_s()), request_id_, spent.count(), what.content_type);
  for (const auto& [name, value] : what.headers) text += fmt::format("{}: {}\r\n", name, value);
  if (how == framing::sized) text += fmt::format("content-length: {}\r\n", bytes);
  if (how == framing::chunked) text += "transfer-encoding: chunked\r\n";
  if (!shared_.options.certificate_file.empty())
    text += "strict-transport-security: max-age=31536000\r\n";
  text += keep_alive_ ? "connection: keep-alive\r\n\r\n" : "connection: close\r\n\r\n";
  return text;
}

asio::awaitable<bool> session::reply_to_route() {
  const auto out = std::make_shared<answer>(
      shared_.back, limits_.stream_backlog_bytes_max, [this] { wake_.cancel(); });
  struct guard {
    std::shared_ptr<answer> out;
    connection& client;
    ~guard() { client.when_closed({}), out->detach(); }
  } const detach{out, *client_};
  // A client that has only ended its own half may still read a quick answer.
  if (route_->patient) client_->when_closed([out] { out->go(); });
  if (route_->patient && client_->closed()) out->go();
  if (sink_)
    sink_->finish(out);
  else
    route_->handle(std::move(in_), *shared_.to, out);
  const auto patience = route_->patient ? forever : limits_.backend_answer;
  const auto deadline = steady_clock::now() + patience;
  while (!out->started() && !out->gone() && client_->usable() && steady_clock::now() < deadline)
    co_await sleep_until(deadline);
  if (out->gone() || !client_->usable()) co_return false;
  if (!out->started())
    co_return co_await write_whole(to_response(
        base::error{base::errc::deadline_exceeded, "the coordinator did not answer in time"}));
  if (out->streams()) co_return co_await write_events(out);
  if (out->body()) co_return co_await write_content(std::move(out->head()), out->body());
  co_return co_await write_whole(std::move(out->head()));
}

asio::awaitable<bool> session::write_whole(response what) {
  auto text = head_text(what, framing::sized, what.body.size());
  if (!head_only_) text += what.body;
  co_return co_await client_->write(text, limits_.write_stall);
}

asio::awaitable<bool> session::write_content(response head, std::shared_ptr<content> body) {
  const auto size = body->size();
  const auto text = head_text(head, framing::sized, size);
  if (!co_await client_->write(text, limits_.write_stall)) co_return false;
  for (std::uint64_t at = 0; at < size && !head_only_;) {
    const auto wanted =
        static_cast<std::size_t>(std::min<std::uint64_t>(transfer_bytes, size - at));
    const auto start = [&](reply<std::string> got) { body->read(at, wanted, std::move(got)); };
    const auto piece = co_await ask<std::string>(start, forever);
    if (!piece || piece->size() != wanted) {
      // The length is already promised: only breaking off tells the client.
      base::log_warning(
          "gateway", "{}: content broke off at {} of {} bytes: {}", request_id_, at, size,
          piece ? "a short read" : piece.error().text());
      client_->close();
      co_return false;
    }
    if (!co_await client_->write(*piece, limits_.write_stall)) co_return false;
    at += wanted;
  }
  co_return true;
}

asio::awaitable<bool> session::write_events(const std::shared_ptr<answer>& out) {
  if (!is_1_1_) keep_alive_ = false;
  const auto how = is_1_1_ ? framing::chunked : framing::until_close;
  const auto framed = [this](std::string_view text) {
    return is_1_1_ ? chunk(text) : std::string{text};
  };
  auto text = head_text(out->head(), how, 0);
  bool sent = co_await client_->write(text, limits_.write_stall);
  if (head_only_) co_return false;
  while (sent && !out->gone() && client_->usable()) {
    if (out->has_events())
      text = framed(out->take_events());
    else if (out->ended())
      break;
    else {
      const auto quiet_until = steady_clock::now() + limits_.event_stream_ping;
      co_await sleep_until(quiet_until);
      if (out->has_events() || out->ended() || steady_clock::now() < quiet_until) continue;
      text = framed(": ping\n\n");
    }
    sent = co_await client_->write(text, limits_.write_stall);
  }
  if (!sent || out->gone()) {
    if (out->overrun())
      base::log_warning("gateway", "{}: the client reads too slowly", request_id_);
    client_->close();
    co_return false;
  }
  co_return !is_1_1_ || co_await client_->write("0\r\n\r\n", limits_.write_stall);
}

}  // namespace dlls::gateway::detail

#include "runtime/link/detail/conversation.hpp"

#include <fmt/core.h>

#include <array>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/connect.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace dlls::runtime::link::detail {

using base::errc;
using base::error;

namespace {
constexpr auto tuple = asio::as_tuple(asio::use_awaitable);
constexpr std::chrono::milliseconds linger_for{1000};
}  // namespace

conversation::conversation(tcp::socket socket)
    : socket_(std::move(socket)),
      resolver_(socket_.get_executor()),
      timer_(socket_.get_executor()) {}

void conversation::start_deadline(std::chrono::milliseconds within, std::function<void()> late) {
  timer_.expires_after(within);
  timer_.async_wait([self = shared_from_this(), late = std::move(late)](auto failed) {
    if (failed) return;
    self->late_ = true;
    self->resolver_.cancel();
    boost::system::error_code ignored;
    self->socket_.close(ignored);
    if (late) late();
  });
}

void conversation::stop_deadline() { timer_.cancel(); }

error conversation::failure() const {
  if (late_) return {errc::deadline_exceeded, "no answer within the time given"};
  return tls_->failure();
}

asio::awaitable<base::result<>> conversation::connect(std::string host, std::uint16_t port) {
  auto [unknown, found] = co_await resolver_.async_resolve(host, std::to_string(port), tuple);
  if (late_) co_return error{errc::deadline_exceeded, "the name was not resolved in time"};
  if (unknown)
    co_return error{
        errc::unavailable,
        fmt::format("the name '{}' does not resolve: {}", host, unknown.message())};
  auto [refused, where] = co_await asio::async_connect(socket_, found, tuple);
  if (late_) co_return error{errc::deadline_exceeded, "no connection within the time given"};
  if (refused) co_return error{errc::unavailable, refused.message(), "is it running there?"};
  co_return base::result<>{};
}

asio::awaitable<bool> conversation::ready(session::step step) {
  if (step != session::step::want_read && step != session::step::want_write) co_return false;
  const auto kind =
      step == session::step::want_read ? tcp::socket::wait_read : tcp::socket::wait_write;
  auto [failed] = co_await socket_.async_wait(kind, tuple);
  co_return !failed && !late_;
}

asio::awaitable<base::result<>> conversation::handshake(
    std::shared_ptr<SSL_CTX> context, std::shared_ptr<const tls_rules> rules, bool server) {
  boost::system::error_code failed;
  socket_.non_blocking(true, failed);
  if (failed) co_return error{errc::io, failed.message()};
  tls_ = std::make_shared<session>(
      std::move(context), std::move(rules), socket_.native_handle(), server);
  for (;;) {
    const auto step = tls_->handshake();
    if (step == session::step::done) co_return base::result<>{};
    if (!co_await ready(step)) co_return failure();
  }
}

asio::awaitable<base::result<>> conversation::write(std::string bytes) {
  for (std::size_t sent = 0; sent < bytes.size();) {
    std::size_t size = 0;
    const auto step = tls_->write(bytes.data() + sent, bytes.size() - sent, size);
    sent += size;
    if (step != session::step::done && !co_await ready(step)) co_return failure();
  }
  co_return base::result<>{};
}

asio::awaitable<base::result<>> conversation::read(std::string* into, std::size_t size_wanted) {
  into->resize(size_wanted);
  for (std::size_t got = 0; got < size_wanted;) {
    std::size_t size = 0;
    const auto step = tls_->read(into->data() + got, size_wanted - got, size);
    got += size;
    if (step != session::step::done && !co_await ready(step)) co_return failure();
  }
  co_return base::result<>{};
}

asio::awaitable<base::result<fields>> conversation::read_record(std::size_t bytes_max) {
  std::string bytes;
  if (auto got = co_await read(&bytes, record_head_bytes); !got) co_return got.error();
  const auto size = record_size(bytes);
  if (size > bytes_max)
    co_return error{
        errc::resource_exhausted,
        fmt::format("a record of {} bytes, {} are allowed", size, bytes_max)};
  if (auto got = co_await read(&bytes, size); !got) co_return got.error();
  co_return read_fields(bytes);
}

asio::awaitable<void> conversation::linger() {
  boost::system::error_code ignored;
  socket_.shutdown(tcp::socket::shutdown_send, ignored);
  start_deadline(linger_for);
  std::array<char, 4096> rest;
  for (std::size_t total = 0; total < 64u << 10;) {
    auto [failed, size] = co_await socket_.async_read_some(asio::buffer(rest), tuple);
    if (failed || late_) break;
    total += size;
  }
  stop_deadline();
  socket_.close(ignored);
}

std::string conversation::remote() const {
  boost::system::error_code failed;
  const auto end = socket_.remote_endpoint(failed);
  return failed ? "somebody" : fmt::format("{}:{}", end.address().to_string(), end.port());
}

std::string conversation::remote_address() const {
  boost::system::error_code failed;
  const auto end = socket_.remote_endpoint(failed);
  return failed ? "" : end.address().to_string();
}

}  // namespace dlls::runtime::link::detail

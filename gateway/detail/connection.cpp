#include "gateway/detail/connection.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <utility>

namespace dlls::gateway::detail {
namespace {

using boost::system::error_code;
using std::chrono::steady_clock;

// Read ahead at most this much; beyond, the client has to wait until we consume.
constexpr std::size_t input_bytes_max = 64u << 10;
constexpr std::size_t read_bytes = 16u << 10;
// How long a client that we refuse may go on sending before we cut it off: a socket closed with
// unread bytes resets, and a reset can overtake our answer.
constexpr auto linger = std::chrono::milliseconds{500};
constexpr std::size_t linger_bytes_max = 256u << 10;

auto into(error_code& ec) { return asio::redirect_error(asio::use_awaitable, ec); }

}  // namespace

connection::connection(asio::ip::tcp::socket socket, asio::ssl::context* tls)
    : plain_(std::move(socket)),
      arrived_(plain_.get_executor(), steady_clock::time_point::max()),
      consumed_(plain_.get_executor(), steady_clock::time_point::max()),
      stall_(plain_.get_executor()) {
  error_code ignored;
  plain_.set_option(asio::ip::tcp::no_delay{true}, ignored);
  if (tls) secure_.emplace(plain_, *tls);
}

asio::awaitable<bool> connection::open(milliseconds handshake_deadline) {
  const auto self = shared_from_this();
  if (secure_) {
    error_code ec;
    stall_.expires_after(handshake_deadline);
    stall_.async_wait([self](error_code stopped) {
      if (!stopped) self->close();
    });
    co_await secure_->async_handshake(asio::ssl::stream_base::server, into(ec));
    stall_.cancel();
    if (ec || !plain_.is_open()) co_return false;
  }
  asio::co_spawn(
      plain_.get_executor(), [self] { return self->read_ahead(); }, asio::detached);
  co_return true;
}

asio::awaitable<std::size_t> connection::read_some(asio::mutable_buffer to, error_code& ec) {
  if (secure_) co_return co_await secure_->async_read_some(to, into(ec));
  co_return co_await plain_.async_read_some(to, into(ec));
}

asio::awaitable<void> connection::read_ahead() {
  const auto self = shared_from_this();
  while (!closed_) {
    if (input_.size() >= input_bytes_max) {
      error_code ignored;
      co_await consumed_.async_wait(into(ignored));
      continue;
    }
    // The buffer is there only while bytes are: a resting connection holds none.
    error_code ec;
    if (!secure_) co_await plain_.async_wait(asio::ip::tcp::socket::wait_read, into(ec));
    std::size_t got = 0;
    if (!ec) {
      std::string piece(read_bytes, '\0');
      got = co_await read_some(asio::buffer(piece), ec);
      input_.append(piece, 0, got);
    }
    if (ec) mark_closed();
    if (got > 0) arrived_.cancel();
  }
}

void connection::mark_closed() {
  if (std::exchange(closed_, true)) return;
  arrived_.cancel();
  consumed_.cancel();
  if (const auto tell = std::exchange(when_closed_, {})) tell();
}

void connection::consume(std::size_t bytes) {
  input_.erase(0, bytes);
  if (input_.empty()) input_.shrink_to_fit();
  consumed_.cancel();
}

asio::awaitable<connection::arrival> connection::more(
    std::size_t have, steady_clock::time_point deadline) {
  while (input_.size() <= have) {
    if (closed_) co_return arrival::closed;
    if (steady_clock::now() >= deadline) co_return arrival::timed_out;
    error_code ignored;
    arrived_.expires_at(deadline);
    co_await arrived_.async_wait(into(ignored));
  }
  co_return arrival::bytes;
}

asio::awaitable<void> connection::wait(asio::steady_timer& timer) {
  if (!usable()) co_return;
  error_code ignored;
  waiting_ = &timer;
  co_await timer.async_wait(into(ignored));
  waiting_ = nullptr;
}

asio::awaitable<bool> connection::write(std::string_view bytes, milliseconds stall) {
  const auto self = shared_from_this();
  while (!bytes.empty()) {
    if (!plain_.is_open()) co_return false;
    error_code ec;
    stall_.expires_after(stall);
    stall_.async_wait([self](error_code stopped) {
      if (!stopped) self->close();
    });
    const auto buffer = asio::buffer(bytes.data(), bytes.size());
    std::size_t wrote = 0;
    if (secure_)
      wrote = co_await secure_->async_write_some(buffer, into(ec));
    else
      wrote = co_await plain_.async_write_some(buffer, into(ec));
    stall_.cancel();
    if (ec) {
      close();
      co_return false;
    }
    bytes.remove_prefix(wrote);
  }
  co_return plain_.is_open();
}

asio::awaitable<void> connection::shut_down() {
  const auto self = shared_from_this();
  error_code ec;
  stall_.expires_after(linger);
  stall_.async_wait([self](error_code stopped) {
    if (!stopped) self->close();
  });
  if (secure_ && !closed_) co_await secure_->async_shutdown(into(ec));
  plain_.shutdown(asio::ip::tcp::socket::shutdown_send, ec);
  const auto deadline = steady_clock::now() + linger;
  std::size_t drained = 0;
  while (!closed_ && drained < linger_bytes_max) {
    if (co_await more(0, deadline) != arrival::bytes) break;
    drained += input_.size();
    consume(input_.size());
  }
  stall_.cancel();
  close();
}

void connection::close() {
  error_code ignored;
  plain_.close(ignored);
  if (waiting_) waiting_->cancel();
  mark_closed();
}

}  // namespace dlls::gateway::detail

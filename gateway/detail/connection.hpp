// One client's byte stream, plain or TLS: reads run ahead into a bounded buffer (so a client that
// hangs up is noticed while its answer is being made), and every wait has a deadline.
// HTTP thread only.
#pragma once
#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace dlls::gateway::detail {

namespace asio = boost::asio;

class connection : public std::enable_shared_from_this<connection> {
 public:
  using milliseconds = std::chrono::milliseconds;
  enum class arrival { bytes, closed, timed_out };

  // `tls` null: plain. It must outlive the connection.
  connection(asio::ip::tcp::socket socket, asio::ssl::context* tls);

  // The TLS handshake, or nothing; then reading begins. False: the connection is of no use.
  asio::awaitable<bool> open(milliseconds handshake_deadline);

  asio::any_io_executor executor() { return plain_.get_executor(); }

  // What has come and was not yet consumed. Consume with erase().
  std::string& input() { return input_; }
  void consume(std::size_t bytes);
  // Waits until input() is longer than `have` bytes.
  asio::awaitable<arrival> more(std::size_t have, std::chrono::steady_clock::time_point deadline);
  // The other side has ended its half, or everything is over.
  bool closed() const { return closed_; }
  // Not yet cut off by close().
  bool usable() const { return plain_.is_open(); }
  // Waits for a timer of the one coroutine that serves this connection; close() ends the wait.
  asio::awaitable<void> wait(asio::steady_timer& timer);
  // Called once when the other side closes or breaks; empty to stop watching.
  void when_closed(std::function<void()> tell) { when_closed_ = std::move(tell); }

  // False when the client went away or took nothing for `stall`.
  asio::awaitable<bool> write(std::string_view bytes, milliseconds stall);
  // Says goodbye (TLS close_notify, FIN) and gives a client that is still sending a moment to read
  // what we said before the socket goes.
  asio::awaitable<void> shut_down();
  // At once.
  void close();

 private:
  asio::awaitable<void> read_ahead();
  asio::awaitable<std::size_t> read_some(asio::mutable_buffer into, boost::system::error_code& ec);
  void mark_closed();

  asio::ip::tcp::socket plain_;
  std::optional<asio::ssl::stream<asio::ip::tcp::socket&>> secure_;
  std::string input_;
  asio::steady_timer arrived_;   // cancelled when input_ grows or the stream ends
  asio::steady_timer consumed_;  // cancelled when input_ shrinks
  asio::steady_timer stall_;
  asio::steady_timer* waiting_ = nullptr;
  std::function<void()> when_closed_;
  bool closed_ = false;
};

}  // namespace dlls::gateway::detail

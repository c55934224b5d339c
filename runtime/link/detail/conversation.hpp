// A TLS session on an Asio thread, before CAF: a socket, a session, a deadline, as coroutines.
#pragma once
#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "runtime/link/detail/record.hpp"
#include "runtime/link/detail/tls.hpp"

namespace dlls::runtime::link::detail {

namespace asio = boost::asio;
using asio::ip::tcp;

// Shared by the coroutine that drives it and by its timer; one thread.
class conversation : public std::enable_shared_from_this<conversation> {
 public:
  explicit conversation(tcp::socket socket);

  // Ends everything that waits here once `within` has passed, and then calls `late` if given.
  void start_deadline(std::chrono::milliseconds within, std::function<void()> late = {});
  void stop_deadline();
  bool is_late() const noexcept { return late_; }

  // All of these end with deadline_exceeded when the deadline passes, else with what TLS says.
  asio::awaitable<base::result<>> connect(std::string host, std::uint16_t port);
  asio::awaitable<base::result<>> handshake(
      std::shared_ptr<SSL_CTX> context, std::shared_ptr<const tls_rules> rules, bool server);
  asio::awaitable<base::result<>> write(std::string bytes);
  // resource_exhausted for a record that says it is larger.
  asio::awaitable<base::result<fields>> read_record(std::size_t bytes_max);
  // Sends the end of our data and waits a moment for the peer's: closed at once, what the peer sent
  // meanwhile would make the kernel discard our last words.
  asio::awaitable<void> linger();

  tcp::socket& socket() noexcept { return socket_; }
  const std::shared_ptr<session>& tls() const noexcept { return tls_; }
  // "127.0.0.1:4000", of the other end.
  std::string remote() const;          // with its port
  std::string remote_address() const;  // without

 private:
  asio::awaitable<base::result<>> read(std::string* into, std::size_t size);
  asio::awaitable<bool> ready(session::step step);
  base::error failure() const;

  tcp::socket socket_;
  asio::ip::tcp::resolver resolver_;
  asio::steady_timer timer_;
  std::shared_ptr<session> tls_;
  bool late_ = false;
};

}  // namespace dlls::runtime::link::detail

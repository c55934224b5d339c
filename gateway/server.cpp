#include "gateway/server.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <atomic>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <map>
#include <set>
#include <thread>

#include "base/log.hpp"
#include "gateway/detail/session.hpp"
#include "gateway/detail/tls.hpp"

namespace dlls::gateway {
namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

namespace {

// How long stop() waits, after its grace, for cancelled requests to unwind by themselves.
constexpr auto unwind = std::chrono::milliseconds{1'000};
// After accept fails (no descriptors left), others get time to close theirs.
constexpr auto accept_pause = std::chrono::milliseconds{100};

}  // namespace

class http_server::state {
 public:
  explicit state(server_options options, std::shared_ptr<backend> to)
      : acceptor_(io_), retry_(io_), grace_(io_) {
    shared_.options = std::move(options);
    shared_.to = std::move(to);
    shared_.back = std::make_shared<detail::home>(io_);
  }
  ~state() { stop(std::chrono::milliseconds{0}); }

  base::result<> listen();
  void run() {
    thread_ = std::thread([this] { work(); });
  }
  void stop(std::chrono::milliseconds grace);
  std::uint16_t port() const { return bound_.port(); }
  std::string url() const;
  std::size_t connections() const { return count_; }

 private:
  struct client {
    std::shared_ptr<detail::connection> stream;
    std::shared_ptr<bool> idle = std::make_shared<bool>(true);
    std::string address;
  };

  void work();
  void accept();
  void admit(tcp::socket socket, const std::string& address);
  asio::awaitable<void> serve(client who);
  void forget(const client& who);
  void close_all(bool only_idle);

  std::shared_ptr<backend> last_reference_;  // for what could not unwind; goes after io_
  asio::io_context io_{1};
  detail::shared_state shared_;
  std::optional<asio::ssl::context> tls_;
  tcp::acceptor acceptor_;
  asio::steady_timer retry_, grace_;
  tcp::endpoint bound_;
  std::map<detail::connection*, client> clients_;
  std::map<std::string, std::size_t> per_address_;
  std::atomic<std::size_t> count_{0};
  std::thread thread_;
};

base::result<> http_server::state::listen() {
  const auto& options = shared_.options;
  error_code ec;
  const auto address = asio::ip::make_address(options.address, ec);
  if (ec)
    return base::error{
        base::errc::invalid_argument,
        fmt::format("'{}' is not an IP address to listen on", options.address),
        "use 127.0.0.1, ::1, 0.0.0.0 or an address of this machine"};
  const bool with_tls = !options.certificate_file.empty() || !options.key_file.empty();
  if (!address.is_loopback() && !with_tls && !options.behind_proxy)
    return base::error{
        base::errc::permission_denied,
        fmt::format(
            "refusing to serve plain HTTP on {}: keys would cross the network in the clear",
            options.address),
        "give a certificate and key, or say that a TLS proxy stands in front (behind_proxy)"};
  if (with_tls) {
    tls_.emplace(asio::ssl::context::tls_server);
    if (auto ok = detail::configure_server_tls(*tls_, options.certificate_file, options.key_file);
        !ok)
      return ok;
  }
  const tcp::endpoint wanted{address, options.port};
  acceptor_.open(wanted.protocol(), ec);
  if (!ec) acceptor_.set_option(tcp::acceptor::reuse_address{true}, ec);
  if (!ec) acceptor_.bind(wanted, ec);
  if (!ec) acceptor_.listen(asio::socket_base::max_listen_connections, ec);
  if (ec == asio::error::address_in_use)
    return base::error{
        base::errc::already_exists,
        fmt::format("port {} of {} is in use", options.port, options.address),
        "stop the other program or choose another port"};
  if (ec == asio::error::access_denied)
    return base::error{
        base::errc::permission_denied,
        fmt::format("not allowed to listen on port {}", options.port),
        "ports below 1024 need a privilege; choose a higher one"};
  if (ec)
    return base::error{
        base::errc::io,
        fmt::format("listen on {}:{}: {}", options.address, options.port, ec.message())};
  bound_ = acceptor_.local_endpoint(ec);
  accept();
  return {};
}

void http_server::state::work() {
  for (;;) try {
      io_.run();
      return;
    } catch (const std::exception& e) {
      // A handler of a route threw (no memory, a bug): its request times out, the rest lives.
      base::log_error("gateway", "a request's handler ended by an exception: {}", e.what());
    }
}

std::string http_server::state::url() const {
  const auto address = bound_.address();
  const auto host = address.is_v6() ? "[" + address.to_string() + "]" : address.to_string();
  return fmt::format("{}://{}:{}", tls_ ? "https" : "http", host, bound_.port());
}

void http_server::state::accept() {
  acceptor_.async_accept([this](error_code ec, tcp::socket socket) {
    if (ec == asio::error::operation_aborted || shared_.stopping) return;
    if (ec) {
      base::log_warning("gateway", "accept: {}", ec.message());
      retry_.expires_after(accept_pause);
      retry_.async_wait([this](error_code stopped) {
        if (!stopped) accept();
      });
      return;
    }
    const auto from = socket.remote_endpoint(ec);
    if (!ec) admit(std::move(socket), from.address().to_string());
    accept();
  });
}

// Beyond a limit the socket is simply closed: answering costs what the limit is there to save.
void http_server::state::admit(tcp::socket socket, const std::string& address) {
  const auto& limits = shared_.options.limits;
  const auto key = detail::throttle_key(address);
  auto& from_there = per_address_[key];
  const bool too_many =
      clients_.size() >= limits.connections_max ||
      (!shared_.options.behind_proxy && from_there >= limits.connections_per_address_max);
  if (too_many) {
    if (from_there == 0) per_address_.erase(key);
    return;
  }
  ++from_there;
  client who;
  who.stream = std::make_shared<detail::connection>(std::move(socket), tls_ ? &*tls_ : nullptr);
  who.address = address;
  clients_.emplace(who.stream.get(), who);
  count_ = clients_.size();
  asio::co_spawn(io_, serve(who), asio::detached);
}

asio::awaitable<void> http_server::state::serve(client who) {
  try {
    detail::session session{who.stream, who.address, shared_, who.idle};
    co_await session.run();
  } catch (const std::exception& e) {
    // A library's exception (no memory, a bug): one connection pays, not the process.
    base::log_error("gateway", "a connection ended by an exception: {}", e.what());
  }
  forget(who);
}

void http_server::state::forget(const client& who) {
  who.stream->close();
  const auto key = detail::throttle_key(who.address);
  if (const auto found = per_address_.find(key);
      found != per_address_.end() && --found->second == 0)
    per_address_.erase(found);
  clients_.erase(who.stream.get());
  count_ = clients_.size();
  if (shared_.stopping && clients_.empty()) grace_.cancel();
}

void http_server::state::close_all(bool only_idle) {
  const auto all = clients_;  // closing may forget
  for (const auto& [_, who] : all)
    if (!only_idle || *who.idle) who.stream->close();
}

void http_server::state::stop(std::chrono::milliseconds grace) {
  if (!thread_.joinable()) return;
  asio::post(io_, [this, grace] {
    shared_.stopping = true;
    error_code ignored;
    acceptor_.close(ignored);
    retry_.cancel();
    close_all(true);
    grace_.expires_after(clients_.empty() ? std::chrono::milliseconds{0} : grace);
    grace_.async_wait([this](error_code) {
      close_all(false);
      grace_.expires_after(clients_.empty() ? std::chrono::milliseconds{0} : unwind);
      grace_.async_wait([this](error_code) { io_.stop(); });
    });
  });
  thread_.join();
  shared_.back->close();
  if (!clients_.empty()) last_reference_ = shared_.to;
  shared_.to.reset();
}

base::result<std::unique_ptr<http_server>> http_server::start(
    server_options options, std::shared_ptr<backend> to) {
  auto made = std::make_unique<state>(std::move(options), std::move(to));
  if (auto ok = made->listen(); !ok) return ok.error();
  made->run();
  base::log_info("gateway", "listening on {}", made->url());
  return std::unique_ptr<http_server>(new http_server(std::move(made)));
}

http_server::http_server(std::unique_ptr<state> s) : state_(std::move(s)) {}
http_server::~http_server() = default;
std::uint16_t http_server::port() const noexcept { return state_->port(); }
std::string http_server::url() const { return state_->url(); }
std::size_t http_server::connections() const noexcept { return state_->connections(); }
void http_server::stop(std::chrono::milliseconds grace) { state_->stop(grace); }

}  // namespace dlls::gateway

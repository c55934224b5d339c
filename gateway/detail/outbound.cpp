#include "gateway/detail/outbound.hpp"

#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/host_name_verification.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/http/buffer_body.hpp>
#include <boost/beast/http/parser.hpp>

#include "gateway/detail/tls.hpp"

namespace dlls::gateway::detail {
namespace asio = boost::asio;
namespace http = boost::beast::http;
using asio::ip::tcp;
using boost::system::error_code;
namespace {

constexpr std::size_t read_bytes = 16u << 10;
constexpr std::size_t header_bytes_max = 16u << 10;
constexpr int interim_answers_max = 4;

base::error away(std::string_view what, const error_code& ec) {
  return {base::errc::unavailable, std::string{what} + ": " + ec.message()};
}

}  // namespace

class outbound::state {
 public:
  explicit state(time_point deadline) : deadline_(deadline) {}
  base::result<> open(
      const url& to, const std::vector<std::string>& addresses, const std::string& ca_file);
  base::result<> write(std::string_view bytes);
  base::result<answer_head> read_head();
  base::result<std::string> read_body();
  void set_deadline(time_point deadline) { deadline_ = deadline; }

 private:
  using parser = http::response_parser<http::buffer_body>;
  template <class Start>
  base::result<> finish(std::string_view what, Start start);
  base::result<> secure(const url& to, const std::string& ca_file);
  base::result<bool> read_more();  // false: the stream has ended

  asio::io_context io_{1};
  tcp::socket socket_{io_};
  std::optional<asio::ssl::context> tls_;
  std::optional<asio::ssl::stream<tcp::socket&>> secure_;
  std::string host_field_;
  std::string pending_;
  std::optional<parser> parser_;
  time_point deadline_;
};

// Starts an operation and runs it to its end or to the deadline.
template <class Start>
base::result<> outbound::state::finish(std::string_view what, Start start) {
  std::optional<error_code> outcome;
  start([&outcome](error_code ec, auto&&...) { outcome = ec; });
  io_.restart();
  io_.run_until(deadline_);
  if (!outcome) {
    error_code ignored;
    socket_.close(ignored);
    io_.restart();
    io_.run();
    return base::error{base::errc::deadline_exceeded, std::string{what} + ": no answer in time"};
  }
  if (*outcome) return away(what, *outcome);
  return {};
}

base::result<> outbound::state::open(
    const url& to, const std::vector<std::string>& addresses, const std::string& ca_file) {
  base::result<> last = base::error{base::errc::unavailable, "no address to connect to"};
  for (const auto& address : addresses) {
    error_code ec;
    const tcp::endpoint there{asio::ip::make_address(address, ec), to.port};
    if (ec) continue;
    socket_ = tcp::socket{io_};
    last = finish("connect to " + to.host_field(), [&](auto done) {
      socket_.async_connect(there, std::move(done));
    });
    if (last || last.error().code == base::errc::deadline_exceeded) break;
  }
  if (!last) return last;
  error_code ignored;
  socket_.set_option(tcp::no_delay{true}, ignored);
  return to.tls ? secure(to, ca_file) : base::result<>{};
}

base::result<> outbound::state::secure(const url& to, const std::string& ca_file) {
  tls_.emplace(asio::ssl::context::tls_client);
  if (auto ok = configure_client_tls(*tls_, ca_file); !ok) return ok;
  secure_.emplace(socket_, *tls_);
  error_code ec;
  secure_->set_verify_callback(asio::ssl::host_name_verification{to.host}, ec);
  if (ec) return away("TLS", ec);
  asio::ip::make_address(to.host, ec);
  if (ec && SSL_set_tlsext_host_name(secure_->native_handle(), to.host.c_str()) != 1)
    return base::error{base::errc::internal, "this OpenSSL refuses the server's name"};
  return finish("TLS with " + to.host_field(), [&](auto done) {
    secure_->async_handshake(asio::ssl::stream_base::client, std::move(done));
  });
}

base::result<> outbound::state::write(std::string_view bytes) {
  return finish("send", [&](auto done) {
    const auto buffer = asio::buffer(bytes.data(), bytes.size());
    if (secure_)
      asio::async_write(*secure_, buffer, std::move(done));
    else
      asio::async_write(socket_, buffer, std::move(done));
  });
}

base::result<bool> outbound::state::read_more() {
  std::string piece(read_bytes, '\0');
  std::size_t got = 0;
  error_code why;
  const auto outcome = finish("receive", [&](auto done) {
    auto keep = [&, done](error_code ec, std::size_t n) mutable {
      got = n;
      why = ec;
      // The end of the stream is for the parser to judge.
      const bool end = ec == asio::error::eof || ec == asio::ssl::error::stream_truncated;
      done(end ? error_code{} : ec);
    };
    if (secure_)
      secure_->async_read_some(asio::buffer(piece), std::move(keep));
    else
      socket_.async_read_some(asio::buffer(piece), std::move(keep));
  });
  if (!outcome) return outcome.error();
  pending_.append(piece, 0, got);
  return !why;
}

base::result<answer_head> outbound::state::read_head() {
  for (int interim = 0; interim <= interim_answers_max; ++interim) {
    parser_.emplace();
    parser_->header_limit(header_bytes_max);
    parser_->body_limit(boost::none);
    while (!parser_->is_header_done()) {
      error_code ec;
      const auto used = parser_->put(asio::buffer(pending_), ec);
      pending_.erase(0, used);
      if (parser_->is_header_done()) break;
      if (ec && ec != http::error::need_more)
        return base::error{base::errc::corrupt, "no HTTP answer: " + ec.message()};
      const auto more = read_more();
      if (!more) return more.error();
      if (!*more)
        return base::error{base::errc::unavailable, "the other side closed without an answer"};
    }
    const auto& head = parser_->get();
    if (head.result_int() / 100 == 1) continue;
    answer_head out;
    out.status = head.result_int();
    const auto wait = head[http::field::retry_after];
    out.retry_after = std::string{wait.data(), wait.size()};
    if (const auto length = parser_->content_length()) out.content_length = *length;
    return out;
  }
  return base::error{base::errc::corrupt, "nothing but interim answers"};
}

base::result<std::string> outbound::state::read_body() {
  std::string piece(read_bytes, '\0');
  bool ended = false;
  while (!parser_->is_done()) {
    auto& body = parser_->get().body();
    body.data = piece.data();
    body.size = piece.size();
    body.more = true;
    error_code ec;
    const auto used = parser_->put(asio::buffer(pending_), ec);
    pending_.erase(0, used);
    const auto got = piece.size() - body.size;
    if (got > 0) return piece.substr(0, got);
    if (parser_->is_done()) break;
    if (ec && ec != http::error::need_more && ec != http::error::need_buffer)
      return base::error{base::errc::corrupt, "the answer is malformed: " + ec.message()};
    if (used > 0) continue;
    if (ended) {
      parser_->put_eof(ec);
      if (ec) return away("the answer broke off", ec);
      break;
    }
    const auto more = read_more();
    if (!more) return more.error();
    ended = !*more;
  }
  return std::string{};
}

outbound::outbound(std::unique_ptr<state> s) : state_(std::move(s)) {}
outbound::~outbound() = default;
void outbound::set_deadline(time_point deadline) { state_->set_deadline(deadline); }
base::result<> outbound::write(std::string_view bytes) { return state_->write(bytes); }
base::result<answer_head> outbound::read_head() { return state_->read_head(); }
base::result<std::string> outbound::read_body() { return state_->read_body(); }

base::result<std::unique_ptr<outbound>> outbound::connect(
    const url& to, const std::vector<std::string>& addresses, const std::string& ca_file,
    time_point deadline) {
  auto made = std::make_unique<state>(deadline);
  if (const auto ok = made->open(to, addresses, ca_file); !ok) return ok.error();
  return std::unique_ptr<outbound>(new outbound(std::move(made)));
}

base::result<std::vector<std::string>> resolve(const std::string& host) {
  asio::io_context io;
  tcp::resolver resolver{io};
  error_code ec;
  const auto found = resolver.resolve(host, "", ec);
  if (ec || found.empty())
    return base::error{
        base::errc::unavailable,
        "cannot resolve '" + host + "': " + (ec ? ec.message() : "it has no address")};
  std::vector<std::string> addresses;
  for (const auto& entry : found) addresses.push_back(entry.endpoint().address().to_string());
  return addresses;
}

}  // namespace dlls::gateway::detail

#include "gateway/detail/session.hpp"

#include <algorithm>
#include <utility>

#include "base/log.hpp"
#include "base/random.hpp"
#include "gateway/detail/header_gate.hpp"

namespace dlls::gateway::detail {
namespace http = boost::beast::http;
namespace {

using boost::system::error_code;
using std::chrono::steady_clock;

constexpr std::size_t transfer_bytes = 64u << 10;
constexpr std::size_t key_bytes_max = 256;

std::string_view view(boost::beast::string_view text) { return {text.data(), text.size()}; }

// The address that our own proxy added: the last entry of the last field; what is before it is
// whatever the client claims.
std::string forwarded_for(const session::parser_type& parser) {
  const auto range = parser.get().equal_range("x-forwarded-for");
  std::string_view chain;
  for (auto at = range.first; at != range.second; ++at) chain = view(at->value());
  return std::string{trimmed(chain.substr(chain.rfind(',') + 1))};
}

refusal refuse(unsigned status, std::string message, std::string code) {
  return {
      {status,
       std::move(message),
       status < 500 ? "invalid_request_error" : "server_error",
       {},
       std::move(code)},
      {}};
}

}  // namespace

asio::awaitable<void> session::run() {
  if (!co_await client_->open(limits_.tls_handshake)) co_return;
  std::size_t served = 0;
  while (++served <= limits_.requests_per_connection_max && !shared_.stopping) {
    *idle_ = true;
    const bool go_on = co_await next_request();
    sink_.reset();
    in_ = {};
    if (!go_on) break;
  }
  *idle_ = true;
  co_await client_->shut_down();
}

asio::awaitable<bool> session::next_request() {
  step wrong;
  keep_alive_ = head_only_ = false;
  route_ = nullptr;
  const auto block = co_await read_head(wrong);
  if (!block && !wrong) co_return false;
  *idle_ = false;
  request_id_ = in_.id = base::random_id("req_");
  in_.arrived = shared_.options.clock->wall_s();
  parser_type parser;
  if (!wrong) wrong = parse_head(*block, parser);
  if (!wrong) wrong = find(parser);
  if (!wrong && route_->needs_key) {
    auto from = shared_.options.behind_proxy ? forwarded_for(parser) : peer_;
    if (from.empty()) from = peer_;
    auto presented = std::string{view(parser.get()[http::field::authorization])};
    wrong = co_await authenticate(std::move(presented), std::move(from));
  }
  if (!wrong) wrong = co_await take_body(parser);
  if (wrong) {
    auto out = to_response(wrong->why);
    if (!wrong->allow.empty()) out.headers.emplace_back("allow", wrong->allow);
    // What is left of the request on the wire cannot be trusted to be a body.
    if (!parser.is_done()) keep_alive_ = false;
    co_return co_await write_whole(std::move(out)) && keep_alive_;
  }
  co_return co_await reply_to_route() && keep_alive_;
}

// None without `wrong`: nobody is asking any more.
asio::awaitable<std::optional<std::string>> session::read_head(step& wrong) {
  using arrival = connection::arrival;
  if (co_await client_->more(0, steady_clock::now() + limits_.keep_alive) != arrival::bytes)
    co_return std::nullopt;
  began_ = steady_clock::now();
  const auto deadline = began_ + limits_.header;
  for (;;) {
    const auto& input = client_->input();
    const auto size = header_block_size(input);
    if (size > limits_.header_bytes_max || (!size && input.size() >= limits_.header_bytes_max)) {
      wrong = refuse(431, "the request's header is too large", "header_too_large");
      co_return std::nullopt;
    }
    if (size) {
      auto block = input.substr(0, size);
      client_->consume(size);
      co_return block;
    }
    const auto how = co_await client_->more(input.size(), deadline);
    if (how == arrival::closed) co_return std::nullopt;
    if (how == arrival::timed_out) {
      wrong = refuse(408, "the request's header took too long", "header_timeout");
      co_return std::nullopt;
    }
  }
}

step session::parse_head(const std::string& block, parser_type& parser) {
  if (const auto ok = check_header_block(block); !ok)
    return refuse(400, ok.error().message, "malformed_request");
  error_code ec;
  parser.header_limit(static_cast<std::uint32_t>(limits_.header_bytes_max));
  parser.body_limit(boost::none);
  const auto used = parser.put(asio::buffer(block), ec);
  if ((ec && ec != http::error::need_buffer) || used != block.size() || !parser.is_header_done())
    return refuse(400, "malformed request", "malformed_request");
  const auto& head = parser.get();
  is_1_1_ = head.version() == 11;
  head_only_ = head.method() == http::verb::head;
  keep_alive_ = head.keep_alive() && is_1_1_ && !shared_.stopping;
  return {};
}

step session::find(parser_type& parser) {
  const auto& head = parser.get();
  const auto target = view(head.target());
  const auto mark = std::min(target.find('?'), target.size());
  in_.method = std::string{view(head.method_string())};
  in_.path = std::string{target.substr(0, mark)};
  auto query = parse_query(target.substr(std::min(mark + 1, target.size())));
  if (!query) return refuse(400, "the query is malformed", "malformed_request");
  in_.query = *std::move(query);
  in_.content_type = std::string{view(head[http::field::content_type])};
  in_.idempotency_key = std::string{view(head["idempotency-key"])};
  if (const auto length = parser.content_length()) in_.content_length = *length;
  auto match = find_route(in_.method, in_.path);
  if (!match.found && match.allowed.empty())
    return refuse(404, "no such path: " + in_.method + " " + in_.path, "unknown_url");
  if (!match.found) {
    auto wrong = refuse(405, in_.method + " is not allowed on " + in_.path, "method_not_allowed");
    wrong.allow = match.allowed;
    return wrong;
  }
  route_ = match.found;
  in_.parameters = std::move(match.parameters);
  return {};
}

asio::awaitable<step> session::authenticate(std::string presented, std::string from) {
  const auto key_of = throttle_key(from);
  const auto now = [&] { return shared_.options.clock->steady(); };
  constexpr std::string_view scheme = "bearer ";
  std::string key;
  if (presented.size() > scheme.size() &&
      equal_ignoring_case(std::string_view{presented}.substr(0, scheme.size()), scheme))
    key = std::string{trimmed(std::string_view{presented}.substr(scheme.size()))};
  base::result<caller> who = base::error{
      base::errc::unauthenticated,
      key.empty() ? "no API key: send 'Authorization: Bearer <key>'" : "incorrect API key"};
  if (!key.empty() && key.size() <= key_bytes_max) {
    const auto start = [&](reply<caller> done) { shared_.to->authenticate(key, std::move(done)); };
    who = co_await ask<caller>(start, limits_.backend_answer);
  }
  if (who) {
    in_.who = *std::move(who);
    co_return step{};
  }
  if (who.error().code == base::errc::unauthenticated) {
    // After the look at the key: who guesses must not lock out the owner behind the same address.
    if (!shared_.throttle.may_try(key_of, now())) {
      auto wrong = refuse(429, "too many failed keys from this address", "too_many_failures");
      wrong.why.type = "rate_limit_error";
      co_return wrong;
    }
    shared_.throttle.failed(key_of, now());
    base::log_warning("gateway", "{}: refused key on {} {}", from, in_.method, route_->pattern);
  }
  co_return refusal{api_error_of(who.error()), {}};
}

asio::awaitable<step> session::take_body(parser_type& parser) {
  const bool has_body = !parser.is_done();
  const auto expect = view(parser.get()[http::field::expect]);
  if (!expect.empty() && !equal_ignoring_case(expect, "100-continue"))
    co_return refuse(417, "only 'Expect: 100-continue' is understood", "expectation_failed");
  // A GET may carry a body that means nothing; a small one is read and dropped.
  std::uint64_t bytes_max = limits_.json_bytes_max;
  if (route_->body == body_kind::upload) bytes_max = limits_.upload_bytes_max;
  if (in_.content_length.value_or(0) > bytes_max)
    co_return refuse(
        413, "the body is larger than " + std::to_string(bytes_max) + " bytes", "body_too_large");
  if (route_->open) {
    auto opened = route_->open(in_, *shared_.to, in_.content_length.value_or(bytes_max));
    if (!opened) co_return refusal{api_error_of(opened.error()), {}};
    sink_ = *std::move(opened);
  }
  if (!has_body) co_return step{};
  if (!expect.empty() && client_->input().empty()) {
    if (!co_await client_->write("HTTP/1.1 100 Continue\r\n\r\n", limits_.write_stall))
      co_return refuse(400, "the client went away", "client_gone");
  }
  co_return co_await read_body(parser, bytes_max);
}

asio::awaitable<step> session::read_body(parser_type& parser, std::uint64_t bytes_max) {
  const auto start = steady_clock::now();
  std::uint64_t total = 0;
  std::string piece(transfer_bytes, '\0');
  while (!parser.is_done()) {
    auto& body = parser.get().body();
    body.data = piece.data();
    body.size = piece.size();
    body.more = true;
    error_code ec;
    const auto used = parser.put(asio::buffer(client_->input()), ec);
    const bool hungry = ec == http::error::need_more;
    if (ec && ec != http::error::need_buffer && !hungry)
      co_return refuse(400, "the body is malformed: " + ec.message(), "malformed_request");
    client_->consume(used);
    const auto got = piece.size() - body.size;
    total += got;
    if (total > bytes_max)
      co_return refuse(
          413, "the body is larger than " + std::to_string(bytes_max) + " bytes", "body_too_large");
    if (auto wrong = pass_on(std::string_view{piece}.substr(0, got))) co_return wrong;
    if (parser.is_done() || (used && !hungry)) continue;
    const auto now = steady_clock::now();
    const auto spent = std::chrono::duration<double>(now - start - limits_.body_idle).count();
    const bool slow = spent > 0 && static_cast<double>(total) <
                                       spent * static_cast<double>(limits_.body_bytes_per_s_min);
    const auto how = slow
                         ? connection::arrival::timed_out
                         : co_await client_->more(client_->input().size(), now + limits_.body_idle);
    if (how == connection::arrival::closed)
      co_return refuse(400, "the body ended early", "client_gone");
    if (how == connection::arrival::timed_out)
      co_return refuse(408, "the body comes too slowly", "body_timeout");
  }
  co_return step{};
}

step session::pass_on(std::string_view piece) {
  if (route_->body == body_kind::json) in_.body += piece;
  if (!sink_) return {};
  if (const auto ok = sink_->write(piece); !ok) return refusal{api_error_of(ok.error()), {}};
  return {};
}

}  // namespace dlls::gateway::detail

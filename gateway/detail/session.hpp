// Requests of one connection, one after the other: header, gate, route, key, body, answer.
#pragma once
#include <boost/asio/awaitable.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/http/buffer_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "gateway/detail/answer.hpp"
#include "gateway/detail/connection.hpp"
#include "gateway/detail/errors.hpp"
#include "gateway/detail/home.hpp"
#include "gateway/detail/routes.hpp"
#include "gateway/detail/throttle.hpp"
#include "gateway/server.hpp"

namespace dlls::gateway::detail {

// What all sessions of a server share. HTTP thread only; outlives them.
struct shared_state {
  server_options options;
  std::shared_ptr<backend> to;
  std::shared_ptr<home> back;
  auth_throttle throttle;
  bool stopping = false;
};

// Why a session stops before its route could answer; none of it is kept alive afterwards.
struct refusal {
  api_error why;
  std::string allow = {};  // for 405
};
using step = std::optional<refusal>;  // none: go on

// Lives in the frame of the coroutine that runs it, so plain references are safe.
class session {
 public:
  using parser_type = boost::beast::http::request_parser<boost::beast::http::buffer_body>;
  // `peer` is the client's address; `idle` is kept true exactly while no request is under way (a
  // stopping server closes idle connections at once).
  session(
      std::shared_ptr<connection> client, std::string peer, shared_state& shared,
      std::shared_ptr<bool> idle)
      : client_(std::move(client)),
        peer_(std::move(peer)),
        shared_(shared),
        limits_(shared.options.limits),
        idle_(std::move(idle)),
        wake_(client_->executor()) {}

  // Serves until either side ends it.
  asio::awaitable<void> run();

 private:
  asio::awaitable<bool> next_request();
  asio::awaitable<std::optional<std::string>> read_head(step& wrong);
  step parse_head(const std::string& block, parser_type& parser);
  step find(parser_type& parser);
  asio::awaitable<step> authenticate(std::string presented, std::string from);
  asio::awaitable<step> take_body(parser_type& parser);
  asio::awaitable<step> read_body(parser_type& parser, std::uint64_t bytes_max);
  step pass_on(std::string_view piece);
  asio::awaitable<bool> reply_to_route();
  asio::awaitable<void> sleep_until(std::chrono::steady_clock::time_point when);
  asio::awaitable<bool> write_whole(response what);
  asio::awaitable<bool> write_content(response head, std::shared_ptr<content> body);
  asio::awaitable<bool> write_events(const std::shared_ptr<answer>& out);
  enum class framing { sized, chunked, until_close };
  std::string head_text(const response& what, framing how, std::uint64_t bytes) const;
  template <class T, class Start>
  asio::awaitable<base::result<T>> ask(Start start, std::chrono::milliseconds patience);

  std::shared_ptr<connection> client_;
  std::string peer_;
  shared_state& shared_;
  const server_limits& limits_;
  std::shared_ptr<bool> idle_;

  // Of the request under way:
  request in_;
  const route* route_ = nullptr;
  std::unique_ptr<body_sink> sink_;
  asio::steady_timer wake_;
  std::chrono::steady_clock::time_point began_;
  std::string request_id_;
  bool keep_alive_ = false, is_1_1_ = true, head_only_ = false;
};

// Calls the backend and waits for its reply; deadline_exceeded when it doesn't come or the
// connection is cut off meanwhile.
template <class T, class Start>
asio::awaitable<base::result<T>> session::ask(Start start, std::chrono::milliseconds patience) {
  struct slot {
    std::optional<base::result<T>> value;
    asio::steady_timer* waiting = nullptr;
  };
  asio::steady_timer timer{co_await asio::this_coro::executor, patience};
  const auto here = std::make_shared<slot>();
  here->waiting = &timer;
  start([here, back = shared_.back](base::result<T> got) {
    auto moved = std::make_shared<base::result<T>>(std::move(got));
    back->post([here, moved] {
      here->value = std::move(*moved);
      if (here->waiting) here->waiting->cancel();
    });
  });
  if (!here->value) co_await client_->wait(timer);
  here->waiting = nullptr;
  if (here->value) co_return std::move(*here->value);
  co_return base::error{base::errc::deadline_exceeded, "the coordinator did not answer in time"};
}

}  // namespace dlls::gateway::detail

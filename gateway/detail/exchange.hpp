// One request and the way its answer goes out: what routes are written against. A session of the
// server implements it over a socket, tests over a vector.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gateway/backend.hpp"
#include "gateway/detail/text.hpp"

namespace dlls::gateway::detail {

struct request {
  std::string method;
  std::string path;                     // as sent, without the query
  std::vector<std::string> parameters;  // of the path's pattern, percent-decoded
  query_pairs query;
  std::string content_type;
  std::string idempotency_key;
  std::optional<std::uint64_t> content_length;
  std::string body;
  caller who;
  std::string id;            // "req_..."
  std::int64_t arrived = 0;  // Unix seconds
};

struct response {
  unsigned status = 200;
  std::string content_type = "application/json";
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;
};

// All but post() is called on the HTTP thread. Exactly one of: send, send_content, or
// start_events ... end. After the client has gone every call is a no-op.
class exchange {
 public:
  virtual ~exchange() = default;
  // Runs `job` on the HTTP thread, later; drops it when the server has stopped. Any thread.
  virtual void post(std::function<void()> job) = 0;
  virtual void send(response whole) = 0;
  virtual void send_content(response head, std::shared_ptr<content> body) = 0;
  virtual void start_events() = 0;
  virtual void event(std::string_view data) = 0;
  virtual void end() = 0;
  // `tell` is called once if the client goes (or is cut off) before the answer is complete.
  virtual void when_gone(std::function<void()> tell) = 0;
};
using exchange_ptr = std::shared_ptr<exchange>;

// A reply that may be called on any thread; `then` runs on the HTTP thread.
template <class T, class F>
reply<T> on_home(exchange_ptr out, F then) {
  return [out, then = std::move(then)](base::result<T> got) {
    auto moved = std::make_shared<base::result<T>>(std::move(got));
    out->post([then, moved] { then(std::move(*moved)); });
  };
}

}  // namespace dlls::gateway::detail

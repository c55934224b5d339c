// The table of routes: what is served, who may ask, how much body. Handlers are pure: a parsed
// request in, backend calls, an answer to the exchange.
#pragma once
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "gateway/backend.hpp"
#include "gateway/detail/exchange.hpp"

namespace dlls::gateway::detail {

// A body that is not collected but passed on as it arrives. HTTP thread only.
class body_sink {
 public:
  virtual ~body_sink() = default;
  virtual base::result<> write(std::string_view bytes) = 0;
  // The body is complete; the answer follows.
  virtual void finish(exchange_ptr out) = 0;
};

enum class body_kind { none, json, upload };

struct route {
  std::string_view method;
  // Segments; "{}" takes one, "{*}" at the end takes the rest, slashes included.
  std::string_view pattern;
  body_kind body = body_kind::none;
  bool needs_key = true;
  bool patient = false;  // the answer may take as long as it takes
  void (*handle)(request in, backend& to, exchange_ptr out) = nullptr;
  base::result<std::unique_ptr<body_sink>> (*open)(
      const request& in, backend& to, std::uint64_t bytes_max) = nullptr;
};

std::span<const route> routes();

struct route_match {
  const route* found = nullptr;         // null: no such path, or another method
  std::vector<std::string> parameters;  // percent-decoded
  std::string allowed;                  // "GET, POST" when only the method is wrong
};
// A HEAD matches the GET.
route_match find_route(std::string_view method, std::string_view path);

// --- the handlers, by file
namespace models {
void health(request in, backend& to, exchange_ptr out);
void full_health(request in, backend& to, exchange_ptr out);
void list(request in, backend& to, exchange_ptr out);
void find(request in, backend& to, exchange_ptr out);
}  // namespace models
namespace completions {
void chat(request in, backend& to, exchange_ptr out);
void text(request in, backend& to, exchange_ptr out);
}  // namespace completions
namespace files {
base::result<std::unique_ptr<body_sink>> open_upload(
    const request& in, backend& to, std::uint64_t bytes_max);
void list(request in, backend& to, exchange_ptr out);
void find(request in, backend& to, exchange_ptr out);
void read(request in, backend& to, exchange_ptr out);
void remove(request in, backend& to, exchange_ptr out);
}  // namespace files
namespace embeddings {
void create(request in, backend& to, exchange_ptr out);
}  // namespace embeddings
namespace fine_tuning {
void create(request in, backend& to, exchange_ptr out);
void list(request in, backend& to, exchange_ptr out);
void find(request in, backend& to, exchange_ptr out);
void cancel(request in, backend& to, exchange_ptr out);
void events(request in, backend& to, exchange_ptr out);
void checkpoints(request in, backend& to, exchange_ptr out);
}  // namespace fine_tuning
namespace jobs {
void create(request in, backend& to, exchange_ptr out);
void list(request in, backend& to, exchange_ptr out);
void find(request in, backend& to, exchange_ptr out);
void cancel(request in, backend& to, exchange_ptr out);
void release(request in, backend& to, exchange_ptr out);
void events(request in, backend& to, exchange_ptr out);
void result(request in, backend& to, exchange_ptr out);
void artifact(request in, backend& to, exchange_ptr out);
void watch(request in, backend& to, exchange_ptr out);
}  // namespace jobs
namespace owner {
void nodes(request in, backend& to, exchange_ptr out);
void revoke(request in, backend& to, exchange_ptr out);
void enroll(request in, backend& to, exchange_ptr out);
void keys(request in, backend& to, exchange_ptr out);
void add_key(request in, backend& to, exchange_ptr out);
void revoke_key(request in, backend& to, exchange_ptr out);
void traffic(request in, backend& to, exchange_ptr out);
void set_webhook(request in, backend& to, exchange_ptr out);
void find_webhook(request in, backend& to, exchange_ptr out);
void delete_webhook(request in, backend& to, exchange_ptr out);
}  // namespace owner

}  // namespace dlls::gateway::detail

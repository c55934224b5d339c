// Ways to ask the gateway in tests: routes without a socket, and a raw socket without manners.
#pragma once
#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "gateway/detail/exchange.hpp"
#include "gateway/json_document.hpp"
#include "tests/gateway/fake_backend.hpp"

namespace dlls::test {

// An exchange that writes down what it is told. Posts wait until drain().
class recorder final : public gateway::detail::exchange {
 public:
  void post(std::function<void()> job) override;
  void send(gateway::detail::response whole) override;
  void send_content(
      gateway::detail::response head, std::shared_ptr<gateway::content> body) override;
  void start_events() override;
  void event(std::string_view data) override;
  void end() override { ended = true; }
  void when_gone(std::function<void()> tell) override { gone = std::move(tell); }

  void drain();

  gateway::detail::response head{0, {}, {}, {}};
  std::vector<std::string> events;
  bool ended = false;
  std::function<void()> gone;

 private:
  std::mutex mutex_;
  std::deque<std::function<void()>> posted_;
};

struct answered {
  std::shared_ptr<recorder> whole;
  unsigned status = 0;
  std::string body;
  gateway::json_document json() const;  // of the body
  gateway::json_document event(std::size_t i) const;
  std::string header(std::string_view name) const;
  std::string error(std::string_view member) const;  // of the envelope, "null" when null
};

struct asked {
  std::string body = {};
  std::string owner = "alice";
  std::string content_type = "application/json";
  std::string idempotency_key = {};
};

// Runs the route of `target` and everything it posts. Status 404 or 405 without a body: no route.
answered ask(fake_backend& to, std::string_view method, std::string_view target, asked with = {});

// A multipart form: pairs of a field and its text; "file" becomes a file called `filename`.
struct form {
  std::string content_type, body;
};
form make_form(
    const std::vector<std::pair<std::string, std::string>>& fields,
    const std::string& filename = "train.jsonl");

// A TCP connection to 127.0.0.1; every read gives up after ten seconds.
class raw_socket {
 public:
  explicit raw_socket(std::uint16_t port);
  ~raw_socket();
  raw_socket(const raw_socket&) = delete;
  raw_socket& operator=(const raw_socket&) = delete;

  bool send(std::string_view bytes);  // false: the other side has closed
  void end_sending();
  // What comes until the other side closes; empty optional when it doesn't within the time.
  std::optional<std::string> read_to_end();
  // What has come once `mark` is in it.
  std::optional<std::string> read_until(std::string_view mark);
  // One whole answer with a Content-Length.
  std::optional<std::string> read_answer();
  void set_receive_buffer(int bytes);

 private:
  bool fill();
  int fd_;
  std::string got_;
  bool ended_ = false;
};

}  // namespace dlls::test

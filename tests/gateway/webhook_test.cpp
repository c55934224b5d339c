#include "gateway/webhook.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <thread>

#include "base/encoding.hpp"
#include "gateway/json_document.hpp"

using namespace dlls;
using namespace dlls::gateway;

namespace {

// Takes one connection, reads one request, sends what it is told to, and keeps the request.
class receiver {
 public:
  explicit receiver(std::string answer) : answer_(std::move(answer)) {
    listener_ = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(::bind(listener_, reinterpret_cast<sockaddr*>(&at), sizeof at) == 0);
    REQUIRE(::listen(listener_, 4) == 0);
    socklen_t size = sizeof at;
    ::getsockname(listener_, reinterpret_cast<sockaddr*>(&at), &size);
    port_ = ntohs(at.sin_port);
    thread_ = std::thread([this] { serve(); });
  }
  ~receiver() {
    ::shutdown(listener_, SHUT_RDWR);
    thread_.join();
    ::close(listener_);
  }
  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_) + "/hook?a=1"; }
  // After the delivery.
  std::string request() {
    ::shutdown(listener_, SHUT_RDWR);
    thread_.join();
    thread_ = std::thread([] {});
    return request_;
  }

 private:
  void serve() {
    const int fd = ::accept(listener_, nullptr, nullptr);
    if (fd < 0) return;
    char piece[4096];
    while (request_.find("}}") == std::string::npos) {
      const auto n = ::recv(fd, piece, sizeof piece, 0);
      if (n <= 0) break;
      request_.append(piece, static_cast<std::size_t>(n));
    }
    ::send(fd, answer_.data(), answer_.size(), MSG_NOSIGNAL);
    if (answer_.empty()) {
      // Silence until the sender gives up.
      while (::recv(fd, piece, sizeof piece, 0) > 0) {
      }
    }
    ::close(fd);
  }

  std::string answer_, request_;
  int listener_ = -1;
  std::uint16_t port_ = 0;
  std::thread thread_;
};

// The secret and vector of the Standard Webhooks reference libraries' own tests.
const std::string secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const std::int64_t now = 1'614'265'330;

base::result<webhook_outcome> deliver(
    const std::string& url, std::chrono::milliseconds timeout = std::chrono::seconds{10},
    bool allow_private = true) {
  webhook_target target;
  target.url = url;
  target.secret = secret;
  target.allow_private = allow_private;
  webhook_message message;
  message.id = "evt_1";
  message.body = webhook_event_body("evt_1", "fine_tuning.job.succeeded", now, "ftjob-1");
  webhook_options options;
  options.timeout = timeout;
  return send_webhook(target, message, now, options);
}

std::string header_of(const std::string& request, const std::string& name) {
  const auto at = request.find("\r\n" + name + ": ");
  if (at == std::string::npos) return "";
  const auto from = at + name.size() + 4;
  return request.substr(from, request.find("\r\n", from) - from);
}

}  // namespace

TEST_CASE("the signature is the one of the Standard Webhooks test vector") {
  const std::string id = "msg_p5jXN8AQM9LWM0D4loKWxJek";
  const std::string body = R"({"test": 2432232314})";
  CHECK(
      sign_webhook(secret, id, now, body).value() ==
      "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
}

TEST_CASE("a signature is verified within five minutes, among several, and not otherwise") {
  const std::string body = "{}";
  const auto good = sign_webhook(secret, "evt_1", now, body).value();
  CHECK(verify_webhook(secret, "evt_1", now, body, good, now + 299));
  CHECK(verify_webhook(secret, "evt_1", now, body, "v1,old= v1a,x " + good, now));
  CHECK_FALSE(verify_webhook(secret, "evt_1", now, body, good, now + 301));
  CHECK_FALSE(verify_webhook(secret, "evt_1", now, body, good, now - 301));
  CHECK_FALSE(verify_webhook(secret, "evt_2", now, body, good, now));
  CHECK_FALSE(verify_webhook(secret, "evt_1", now + 1, body, good, now));
  CHECK_FALSE(verify_webhook(secret, "evt_1", now, "{ }", good, now));
  CHECK_FALSE(verify_webhook(new_webhook_secret(), "evt_1", now, body, good, now));
  CHECK_FALSE(verify_webhook(secret, "evt_1", now, body, "", now));
}

TEST_CASE("a new secret signs, and what isn't one does not") {
  CHECK(sign_webhook(new_webhook_secret(), "a", now, "b"));
  CHECK(new_webhook_secret() != new_webhook_secret());
  for (const std::string bad :
       {"", "whsec_", "whsec_AAAA", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS*"})
    CHECK(sign_webhook(bad, "a", now, "b").error().code == base::errc::invalid_argument);
}

TEST_CASE("an event's body is thin") {
  const auto body = json_document::parse(
      webhook_event_body("evt_1", "fine_tuning.job.succeeded", 5, "ftjob-\"1"));
  CHECK(body->text("/object") == "event");
  CHECK(body->text("/type") == "fine_tuning.job.succeeded");
  CHECK(body->integer("/created_at") == 5);
  CHECK(body->text("/data/id") == "ftjob-\"1");
}

TEST_CASE("retries spread over days and then end") {
  std::chrono::milliseconds total{0};
  for (unsigned attempt = 1; attempt <= 9; ++attempt) {
    const auto least = webhook_retry_delay(attempt, 0).value();
    const auto most = webhook_retry_delay(attempt, 0.999).value();
    CHECK(most > least);
    CHECK(most.count() <= least.count() * 11 / 10);
    total += least;
  }
  CHECK(webhook_retry_delay(1, 0) == std::chrono::seconds{5});
  CHECK(webhook_retry_delay(9, 0) == std::chrono::hours{24});
  CHECK(total > std::chrono::hours{72});
  CHECK_FALSE(webhook_retry_delay(0, 0));
  CHECK_FALSE(webhook_retry_delay(10, 0));
}

TEST_CASE("only addresses of the public internet pass the guard") {
  for (const auto* address :
       {"8.8.8.8", "1.1.1.1", "100.63.255.255", "100.128.0.0", "172.15.0.1", "172.32.0.1",
        "192.167.1.1", "198.17.0.1", "198.20.0.1", "223.255.255.255", "2606:4700::1111",
        "2a00:1450::1", "2001:4860:4860::8888"}) {
    INFO(address);
    CHECK(is_public_address(address));
  }
  for (const auto* address :
       {"0.0.0.0",
        "0.1.2.3",
        "10.0.0.1",
        "10.255.255.255",
        "100.64.0.1",
        "100.127.255.255",
        "127.0.0.1",
        "127.255.0.1",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.8",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.0.1",
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::ffff:8.8.8.8",
        "::ffff:127.0.0.1",
        "::127.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b:1::1",
        "100::1",
        "2001::1",
        "2001:10::1",
        "2001:20::1",
        "2001:db8::1",
        "2002:7f00:1::1",
        "3fff::1",
        "fc00::1",
        "fd12:3456::1",
        "fe80::1",
        "fe80::1%lo",
        "fec0::1",
        "ff02::1",
        "",
        "localhost",
        "127.1",
        "0x7f000001",
        "2130706433",
        "8.8.8.8 ",
        "08.8.8.8"}) {
    INFO(address);
    CHECK_FALSE(is_public_address(address));
  }
}

TEST_CASE("a delivery carries the three headers, and its signature verifies") {
  receiver to{"HTTP/1.1 204 No Content\r\n\r\n"};
  const auto outcome = deliver(to.url());
  REQUIRE(outcome);
  CHECK(outcome->delivered);
  CHECK(outcome->status == 204);
  const auto request = to.request();
  CHECK(request.starts_with("POST /hook?a=1 HTTP/1.1\r\n"));
  CHECK(header_of(request, "webhook-id") == "evt_1");
  CHECK(header_of(request, "content-type") == "application/json");
  const auto body = request.substr(request.find("\r\n\r\n") + 4);
  CHECK(verify_webhook(
      secret, "evt_1", std::stoll(header_of(request, "webhook-timestamp")), body,
      header_of(request, "webhook-signature"), now));
}

TEST_CASE("only a 2xx is a delivery: redirects are not followed, 410 disables") {
  const auto answer = [](const std::string& text) {
    receiver to{"HTTP/1.1 " + text + "\r\nContent-Length: 0\r\n\r\n"};
    return deliver(to.url()).value();
  };
  CHECK(answer("200 OK").delivered);
  const auto moved = answer("302 Found\r\nLocation: http://127.0.0.1:1/");
  CHECK_FALSE(moved.delivered);
  CHECK(moved.status == 302);
  const auto gone = answer("410 Gone");
  CHECK(gone.disable);
  CHECK_FALSE(gone.delivered);
  const auto busy = answer("503 Busy\r\nRetry-After: 30");
  CHECK(busy.retry_after == std::chrono::seconds{30});
  CHECK(answer("503 Busy\r\nRetry-After: 99999999").retry_after == std::chrono::seconds{86'400});
  CHECK_FALSE(answer("503 Busy\r\nRetry-After: tomorrow").retry_after);
}

TEST_CASE("a receiver that talks without end, not at all, or nonsense is survived") {
  receiver endless{"HTTP/1.1 200 OK\r\n\r\n" + std::string(1 << 20, 'x')};
  CHECK(deliver(endless.url())->delivered);
  receiver silent{""};
  CHECK(
      deliver(silent.url(), std::chrono::milliseconds{100}).error().code ==
      base::errc::deadline_exceeded);
  receiver nonsense{"\x16\x03\x01 hello\r\n\r\n"};
  CHECK(deliver(nonsense.url()).error().code == base::errc::corrupt);
  receiver huge{"HTTP/1.1 200 OK\r\nX: " + std::string(100'000, 'x')};
  CHECK_FALSE(deliver(huge.url()));
  std::string nowhere;
  {
    receiver closed{""};
    nowhere = closed.url();
  }
  CHECK(deliver(nowhere).error().code == base::errc::unavailable);
}

TEST_CASE("the guard stops a delivery to a private address under any spelling") {
  const auto code = [](const std::string& url) {
    const auto outcome = deliver(url, std::chrono::seconds{2}, false);
    return outcome ? base::errc::ok : outcome.error().code;
  };
  CHECK(code("https://127.0.0.1/") == base::errc::permission_denied);
  CHECK(code("https://localhost/") == base::errc::permission_denied);
  CHECK(code("https://[::1]/") == base::errc::permission_denied);
  CHECK(code("https://[::ffff:127.0.0.1]/") == base::errc::permission_denied);
  // The resolver reads these as 127.0.0.1, so the guard must judge what it gives.
  CHECK(code("https://127.1/") == base::errc::permission_denied);
  CHECK(code("https://0x7f000001/") == base::errc::permission_denied);
  CHECK(code("https://2130706433/") == base::errc::permission_denied);
  CHECK(code("https://0/") == base::errc::permission_denied);
  CHECK(code("http://8.8.8.8/") == base::errc::invalid_argument);
  CHECK(code("https://no-such-host.invalid/") == base::errc::unavailable);
}

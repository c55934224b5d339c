// What the internet sends to an open port, against a live server: nothing of it may be answered
// twice, hang, hurt another connection or be kept.
#include <catch2/catch.hpp>

#include "gateway/server.hpp"
#include "tests/gateway/probe.hpp"

using namespace dlls;
using gateway::http_server;
using test::fake_backend;
using test::raw_socket;

namespace {

const std::string key = "Authorization: Bearer sk-alice\r\n";

struct live {
  std::shared_ptr<fake_backend> backend =
      std::make_shared<fake_backend>(fake_backend::replies::threaded);
  std::unique_ptr<http_server> server;

  explicit live(gateway::server_options options = {}) {
    options.port = 0;
    server = http_server::start(std::move(options), backend).value();
  }
  ~live() {
    // Whatever happened: the server still serves.
    raw_socket s{server->port()};
    s.send("GET /health HTTP/1.1\r\nHost: x\r\n\r\n");
    CHECK(s.read_answer().value_or("").find("200 OK") != std::string::npos);
  }
  // All that comes back until the server closes.
  std::optional<std::string> exchange(const std::string& bytes) {
    raw_socket s{server->port()};
    s.send(bytes);
    return s.read_to_end();
  }
};

std::size_t answers(const std::string& text) {
  std::size_t n = 0;
  for (std::size_t at = 0; (at = text.find("HTTP/1.1 ", at)) != std::string::npos; ++at) ++n;
  return n;
}

gateway::server_options impatient() {
  gateway::server_options options;
  options.limits.header = std::chrono::milliseconds{100};
  options.limits.body_idle = std::chrono::milliseconds{100};
  options.limits.keep_alive = std::chrono::milliseconds{200};
  return options;
}

}  // namespace

TEST_CASE("a smuggled second request is never answered") {
  live l;
  const std::string second = "GET /health HTTP/1.1\r\nHost: smuggled\r\n\r\n";
  for (const std::string head : {
           "POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: "
           "chunked\r\n",
           "POST /v1/jobs HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n",
           "POST /v1/jobs HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, identity\r\n",
           "POST /v1/jobs HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-encoding: "
           "identity\r\n",
           "POST /v1/jobs HTTP/1.1\r\nHost: x\r\nTransfer-Encoding\t: chunked\r\n",
           "POST /v1/jobs HTTP/1.1\r\nHost: x\r\nTransfer-Encoding:\r\n chunked\r\n",
           "POST /v1/jobs HTTP/1.0\r\nTransfer-Encoding: chunked\r\n",
           "POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nContent-Length: 44\r\n",
           "POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 0, 44\r\n",
           "POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length : 0\r\n",
           "POST /v1/jobs HTTP/1.1\r\nHost: x\nContent-Length: 0\r\n",
           "POST /v1/jobs HTTP/1.1\r\nHost: x\r\nHost: y\r\n",
           "POST /v1/jobs HTTP/1.1\r\n",
           "GET /health HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n",
       }) {
    INFO(head);
    const auto got = l.exchange(head + key + "\r\n" + "0\r\n\r\n" + second);
    REQUIRE(got);
    CHECK(answers(*got) == 1);
    CHECK(got->find("HTTP/1.1 400 ") == 0);
    CHECK(got->find("connection: close") != std::string::npos);
    CHECK(got->find("\"error\"") != std::string::npos);
  }
  CHECK(l.backend->job_requests().empty());
}

TEST_CASE("a body that was refused unread is never taken for the next request") {
  live l;
  const std::string second = "GET /health HTTP/1.1\r\nHost: x\r\n\r\n";
  for (const std::string& head : {
           std::string{"POST /nowhere HTTP/1.1\r\nHost: x\r\n"} + key,
           "POST /health HTTP/1.1\r\nHost: x\r\n" + key,
           std::string{"POST /v1/jobs HTTP/1.1\r\nHost: x\r\n"},
           "POST /v1/files HTTP/1.1\r\nHost: x\r\n" + key,
           "POST /v1/jobs HTTP/1.1\r\nHost: x\r\nExpect: surprises\r\n" + key,
       }) {
    INFO(head);
    const auto got =
        l.exchange(head + "Content-Length: " + std::to_string(second.size()) + "\r\n\r\n" + second);
    REQUIRE(got);
    CHECK(answers(*got) == 1);
  }
}

TEST_CASE("what is not HTTP gets one answer at most and the door") {
  live l;
  for (const std::string& bytes : {
           std::string{"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03\r\n\r\n", 15},
           std::string{"SSH-2.0-OpenSSH_9.2\r\n\r\n"},
           std::string{"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"},
           std::string{"\r\n\r\n\r\n\r\n"},
           std::string{"GET /\r\n\r\n"},
           std::string{"GET / HTTP/1.1\r\nHost: a\0b\r\n\r\n", 30},
       }) {
    const auto got = l.exchange(bytes);
    REQUIRE(got);
    CHECK(answers(*got) == 1);
    CHECK(got->find(" 400 ") != std::string::npos);
  }
}

TEST_CASE("a header that is too large is 431 and not collected") {
  live l;
  raw_socket s{l.server->port()};
  s.send("GET /health HTTP/1.1\r\nHost: x\r\n");
  const std::string line = "X-Filler: " + std::string(1000, 'x') + "\r\n";
  for (int i = 0; i < 200 && s.send(line); ++i) {
  }
  const auto got = s.read_to_end();
  REQUIRE(got);
  CHECK(got->find(" 431 ") != std::string::npos);
}

TEST_CASE("a body beyond its route's limit is 413, declared or chunked") {
  live l;
  const auto declared = l.exchange(
      "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n" + key + "Content-Length: 600000\r\n\r\n");
  REQUIRE(declared);
  CHECK(declared->find(" 413 ") != std::string::npos);
  const auto upload = l.exchange(
      "POST /v1/files HTTP/1.1\r\nHost: x\r\n" + key +
      "Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 9999999999\r\n\r\n");
  REQUIRE(upload);
  CHECK(upload->find(" 413 ") != std::string::npos);
  raw_socket s{l.server->port()};
  s.send(
      "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n" + key +
      "Transfer-Encoding: chunked\r\n\r\n");
  const std::string chunk = "1000\r\n" + std::string(4096, ' ') + "\r\n";
  for (int i = 0; i < 1000 && s.send(chunk); ++i) {
  }
  const auto chunked = s.read_to_end();
  REQUIRE(chunked);
  CHECK(chunked->find(" 413 ") != std::string::npos);
}

TEST_CASE("malformed chunks are 400") {
  live l;
  for (const std::string body :
       {"zz\r\n", "-1\r\n", "5\r\nabc\r\n0\r\n\r\n", "ffffffffffffffff0\r\nx", "1\nx\n0\n\n",
        "1\r\nxy\r\n0\r\n\r\n"}) {
    INFO(body);
    raw_socket s{l.server->port()};
    s.send(
        "POST /v1/jobs HTTP/1.1\r\nHost: x\r\n" + key + "Transfer-Encoding: chunked\r\n\r\n" +
        body);
    s.end_sending();
    const auto got = s.read_to_end();
    REQUIRE(got);
    CHECK(answers(*got) <= 1);
    CHECK(got->find(" 200 ") == std::string::npos);
  }
  CHECK(l.backend->job_requests().empty());
}

TEST_CASE("a header that drips in is cut off by its deadline") {
  live l{impatient()};
  raw_socket s{l.server->port()};
  s.send("GET /health HTTP/1.1\r\n");
  const auto got = s.read_to_end();
  REQUIRE(got);
  CHECK(got->find(" 408 ") != std::string::npos);
}

TEST_CASE("a body that stops coming is cut off") {
  live l{impatient()};
  raw_socket s{l.server->port()};
  s.send("POST /v1/jobs HTTP/1.1\r\nHost: x\r\n" + key + "Content-Length: 100\r\n\r\n{");
  const auto got = s.read_to_end();
  REQUIRE(got);
  CHECK(got->find(" 408 ") != std::string::npos);
}

TEST_CASE("an idle connection is closed without a word") {
  live l{impatient()};
  raw_socket s{l.server->port()};
  CHECK(s.read_to_end() == "");
}

TEST_CASE("a body slower than the minimum rate is cut off though it never stops") {
  auto options = impatient();
  options.limits.body_bytes_per_s_min = 1u << 30;
  live l{options};
  raw_socket s{l.server->port()};
  s.send(
      "POST /v1/files HTTP/1.1\r\nHost: x\r\n" + key +
      "Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 100000000\r\n\r\n--b\r\n"
      "Content-Disposition: form-data; name=file; filename=f\r\n\r\n");
  // As fast as one byte a write goes; a fast sender would pass the rate, this one cannot.
  int sent = 0;
  while (s.send("x") && ++sent < 50'000'000) {
  }
  CHECK(sent < 50'000'000);
  CHECK(l.backend->wait_aborted_uploads(1));
}

TEST_CASE("a thousand connections that die at once leave nothing") {
  gateway::server_options options;
  options.limits.connections_per_address_max = 1'000;
  live l{options};
  for (int i = 0; i < 1'000; ++i) {
    raw_socket s{l.server->port()};
    if (i % 3 == 0) s.send("GET /v1/models HTTP/1.1\r\nHost: x\r\n" + key + "\r\n");
    if (i % 3 == 1) s.send("POST /v1/files HTTP/1.1\r\nHo");
  }
}

TEST_CASE("a deeply nested or huge JSON body costs an error, not the process") {
  live l;
  std::string deep(400'000, '[');
  raw_socket s{l.server->port()};
  s.send(
      "POST /v1/jobs HTTP/1.1\r\nHost: x\r\n" + key +
      "Content-Length: " + std::to_string(deep.size()) + "\r\n\r\n" + deep);
  const auto got = s.read_answer();
  REQUIRE(got);
  CHECK(got->find(" 400 ") != std::string::npos);
}

#include "gateway/server.hpp"

#include <catch2/catch.hpp>

#include "tests/gateway/probe.hpp"

using namespace dlls;
using gateway::http_server;
using test::fake_backend;
using test::raw_socket;

namespace {

struct live {
  std::shared_ptr<fake_backend> backend;
  std::unique_ptr<http_server> server;

  explicit live(gateway::server_options options = {}) {
    backend = std::make_shared<fake_backend>(fake_backend::replies::threaded);
    options.port = 0;
    server = http_server::start(std::move(options), backend).value();
  }
  std::uint16_t port() const { return server->port(); }
};

std::string get(const std::string& target, const std::string& more = "") {
  return "GET " + target + " HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer sk-alice\r\n" + more +
         "\r\n";
}

std::string post(const std::string& target, const std::string& body, const std::string& more = "") {
  return "POST " + target + " HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer sk-alice\r\n" +
         "Content-Length: " + std::to_string(body.size()) + "\r\n" + more + "\r\n" + body;
}

std::string chat(const std::string& model, bool stream) {
  return post(
      "/v1/chat/completions", R"({"model":")" + model +
                                  R"(","messages":[{"role":"user","content":"one two"}])" +
                                  (stream ? R"(,"stream":true})" : "}"));
}

bool contains(const std::optional<std::string>& text, std::string_view part) {
  INFO("looking for " << part << " in " << text.value_or("(nothing)"));
  const bool found = text && text->find(part) != std::string::npos;
  CHECK(found);
  return found;
}

}  // namespace

TEST_CASE("a connection serves several requests, pipelined ones too") {
  live l;
  raw_socket s{l.port()};
  s.send(get("/v1/models") + get("/health") + chat("tiny", false));
  contains(s.read_answer(), "\"object\":\"list\"");
  contains(s.read_answer(), "\"status\":\"ok\"");
  const auto last = s.read_answer();
  contains(last, "one two");
  contains(last, "HTTP/1.1 200 OK\r\n");
  contains(last, "x-request-id: req_");
  contains(last, "openai-processing-ms: ");
  contains(last, "connection: keep-alive");
  CHECK(l.server->connections() == 1);
}

TEST_CASE("every path below /v1 needs a key, and health does not") {
  live l;
  for (const std::string target :
       {"/v1/models", "/v1/files", "/v1/jobs", "/v1/nodes", "/v1/health"}) {
    raw_socket s{l.port()};
    s.send("GET " + target + " HTTP/1.1\r\nHost: x\r\n\r\n");
    const auto a = s.read_answer();
    contains(a, "401 Unauthorized");
    contains(a, "\"code\":\"invalid_api_key\"");
  }
  raw_socket s{l.port()};
  s.send("GET /health HTTP/1.1\r\nHost: x\r\n\r\n");
  contains(s.read_answer(), "200 OK");
}

TEST_CASE("a wrong key is refused, guessing is slowed down, and a right key always opens") {
  base::manual_clock clock;
  gateway::server_options options;
  options.clock = &clock;
  live l{options};
  const auto attempt = [&](const std::string& value) {
    raw_socket s{l.port()};
    s.send("GET /v1/models HTTP/1.1\r\nHost: x\r\nAuthorization: " + value + "\r\n\r\n");
    return s.read_answer().value_or("");
  };
  for (const std::string value :
       {"Bearer wrong", "Basic sk-alice", "sk-alice", "Bearer", "Bearer sk-alice x"})
    contains(attempt(value), " 401 ");
  contains(attempt("bearer sk-alice"), " 200 ");
  contains(attempt("Bearer " + std::string(300, 'k')), " 401 ");
  for (int i = 0; i < 4; ++i) contains(attempt("Bearer wrong"), " 401 ");
  const auto slowed = attempt("Bearer wrong");
  contains(slowed, " 429 ");
  contains(slowed, "retry-after: ");
  contains(attempt("Bearer sk-alice"), " 200 ");  // nobody behind the same address locks him out
  clock.advance(base::milliseconds{60'000});
  contains(attempt("Bearer wrong"), " 401 ");
}

TEST_CASE("behind a proxy the throttle goes by the address that the proxy added") {
  base::manual_clock clock;
  gateway::server_options options;
  options.behind_proxy = true;
  options.address = "0.0.0.0";
  options.clock = &clock;
  live l{options};
  const auto attempt = [&](const std::string& from, const std::string& key) {
    raw_socket s{l.port()};
    s.send(
        "GET /v1/models HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 9.9.9.9\r\nX-Forwarded-For: "
        "8.8.8.8, " +
        from + "\r\nAuthorization: Bearer " + key + "\r\n\r\n");
    return s.read_answer().value_or("");
  };
  for (int i = 0; i < 10; ++i) contains(attempt("192.0.2.1", "wrong"), " 401 ");
  contains(attempt("192.0.2.1", "wrong"), " 429 ");
  contains(attempt("192.0.2.2", "wrong"), " 401 ");
}

TEST_CASE("unknown paths and wrong methods say so") {
  live l;
  raw_socket s{l.port()};
  s.send(get("/v2/models"));
  contains(s.read_answer(), "404 Not Found");
  s.send("DELETE /health HTTP/1.1\r\nHost: x\r\n\r\n");
  const auto a = s.read_answer();
  contains(a, "405 Method Not Allowed");
  contains(a, "allow: GET\r\n");
}

TEST_CASE("HEAD is GET without the body") {
  live l;
  raw_socket s{l.port()};
  s.send("HEAD /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  const auto a = s.read_to_end();
  contains(a, "200 OK");
  CHECK(a->ends_with("\r\n\r\n"));
}

TEST_CASE("a stream is chunked server-sent events, and the connection lives on") {
  live l;
  raw_socket s{l.port()};
  s.send(chat("tiny", true));
  const auto a = s.read_until("0\r\n\r\n");
  contains(a, "content-type: text/event-stream");
  contains(a, "transfer-encoding: chunked");
  contains(a, "\"content\":\"one\"");
  contains(a, "data: [DONE]\n\n");
  s.send(get("/health"));
  contains(s.read_answer(), "200 OK");
}

TEST_CASE("an HTTP/1.0 client gets its stream unchunked until the close") {
  live l;
  raw_socket s{l.port()};
  auto request = chat("tiny", true);
  request.replace(request.find("HTTP/1.1"), 8, "HTTP/1.0");
  s.send(request);
  const auto a = s.read_to_end();
  contains(a, "data: [DONE]\n\n");
  CHECK(a->find("transfer-encoding") == std::string::npos);
}

TEST_CASE("a client that hangs up cancels its generation, streamed or not") {
  live l;
  {
    raw_socket s{l.port()};
    s.send(chat("silent", true));
    contains(s.read_until("Wait"), "Wait");
  }
  CHECK(l.backend->wait_cancelled(1));
  {
    raw_socket s{l.port()};
    s.send(chat("stuck", false));
    raw_socket other{l.port()};
    other.send(get("/health"));
    contains(other.read_answer(), "200 OK");
  }
  CHECK(l.backend->wait_cancelled(2));
}

TEST_CASE("a watcher of a silent job gets comments, and its hanging up ends the watch") {
  gateway::server_options options;
  options.limits.event_stream_ping = std::chrono::milliseconds{20};
  live l{options};
  const auto file = l.backend->add_file("alice", "a", "b");
  raw_socket s{l.port()};
  s.send(post("/v1/jobs", R"({"kind":"checksum","files":[")" + file + "\"]}"));
  contains(s.read_answer(), "job-1");
  {
    raw_socket watcher{l.port()};
    watcher.send(get("/v1/jobs/job-1/watch"));
    contains(watcher.read_until(": ping"), "job.progress");
  }
  CHECK(l.backend->wait_cancelled(1));
}

TEST_CASE("a client that does not read its stream is cut off") {
  gateway::server_options options;
  options.limits.stream_backlog_bytes_max = 64 << 10;
  options.limits.write_stall = std::chrono::milliseconds{300};
  live l{options};
  raw_socket s{l.port()};
  s.set_receive_buffer(4096);
  s.send(chat("chatty", true));
  CHECK(l.backend->wait_cancelled(1));
}

TEST_CASE("an upload streams through, with Expect and chunked too") {
  live l;
  const std::string bytes(1'000'000, 'z');
  const auto form = test::make_form({{"purpose", "fine-tune"}, {"file", bytes}});
  const auto head = [&](const std::string& more) {
    return "POST /v1/files HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "
           "sk-alice\r\nContent-Type: " +
           form.content_type + "\r\n" + more + "\r\n";
  };
  raw_socket s{l.port()};
  s.send(
      head("Expect: 100-continue\r\nContent-Length: " + std::to_string(form.body.size()) + "\r\n"));
  contains(s.read_until("\r\n\r\n"), "100 Continue");
  s.send(form.body);
  contains(s.read_answer(), "\"bytes\":1000000");
  s.send(head("Transfer-Encoding: chunked\r\n"));
  for (std::size_t at = 0; at < form.body.size(); at += 7000) {
    const auto piece = form.body.substr(at, 7000);
    char size[16];
    std::snprintf(size, sizeof size, "%zx\r\n", piece.size());
    s.send(size + piece + "\r\n");
  }
  s.send("0\r\n\r\n");
  contains(s.read_answer(), "\"bytes\":1000000");
  CHECK(l.backend->file_bytes("file-2") == bytes);
  s.send(get("/v1/files/file-2/content", "Connection: close\r\n"));
  const auto content = s.read_to_end();
  REQUIRE(content);
  CHECK(content->ends_with(std::string(1000, 'z')));
  CHECK(content->size() > bytes.size());
}

TEST_CASE("an upload that breaks off is dropped") {
  live l;
  const auto form =
      test::make_form({{"purpose", "fine-tune"}, {"file", std::string(100'000, 'z')}});
  {
    raw_socket s{l.port()};
    s.send(
        "POST /v1/files HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer sk-alice\r\nContent-Type: " +
        form.content_type + "\r\nContent-Length: " + std::to_string(form.body.size()) + "\r\n\r\n" +
        form.body.substr(0, 80'000));
  }
  CHECK(l.backend->wait_aborted_uploads(1));
  CHECK(l.backend->file_count() == 0);
}

TEST_CASE("a backend that never answers is 504, but a generation may take its time") {
  gateway::server_options options;
  options.limits.backend_answer = std::chrono::milliseconds{100};
  live l{options};
  l.backend->fall_silent();
  raw_socket s{l.port()};
  s.send(get("/v1/models"));
  contains(s.read_answer(), "504 Gateway Timeout");
}

TEST_CASE("the server refuses to speak plain HTTP beyond loopback") {
  const auto start = [](const std::string& address, bool proxy) {
    gateway::server_options options;
    options.address = address;
    options.port = 0;
    options.behind_proxy = proxy;
    const auto started = http_server::start(options, std::make_shared<fake_backend>());
    return started ? base::errc::ok : started.error().code;
  };
  CHECK(start("127.0.0.1", false) == base::errc::ok);
  CHECK(start("0.0.0.0", false) == base::errc::permission_denied);
  CHECK(start("::", false) == base::errc::permission_denied);
  CHECK(start("0.0.0.0", true) == base::errc::ok);
  CHECK(start("localhost", false) == base::errc::invalid_argument);
  CHECK(start("", false) == base::errc::invalid_argument);
}

TEST_CASE("a port in use is a clear error") {
  live l;
  gateway::server_options options;
  options.port = l.port();
  const auto second = http_server::start(options, std::make_shared<fake_backend>());
  REQUIRE_FALSE(second);
  CHECK(second.error().code == base::errc::already_exists);
  CHECK(second.error().message.find(std::to_string(l.port())) != std::string::npos);
  CHECK_FALSE(second.error().hint.empty());
}

TEST_CASE("a missing certificate stops the start") {
  gateway::server_options options;
  options.port = 0;
  options.certificate_file = "/nowhere/cert.pem";
  const auto started = http_server::start(options, std::make_shared<fake_backend>());
  REQUIRE_FALSE(started);
  CHECK(started.error().code == base::errc::not_found);
  options.certificate_file.clear();
  options.key_file = "/nowhere/key.pem";
  CHECK(
      http_server::start(options, std::make_shared<fake_backend>()).error().code ==
      base::errc::invalid_argument);
}

TEST_CASE("stopping lets a request finish, cancels what does not, and closes idle connections") {
  live l;
  raw_socket idle{l.port()}, busy{l.port()};
  idle.send(get("/health"));
  contains(idle.read_answer(), "200 OK");
  busy.send(chat("silent", true));
  contains(busy.read_until("Wait"), "Wait");
  l.server->stop(std::chrono::milliseconds{50});
  CHECK(l.backend->wait_cancelled(1));
  CHECK(idle.read_to_end() == "");
  CHECK(busy.read_to_end());
  CHECK(l.backend.use_count() == 1);
  l.server->stop();
}

TEST_CASE("stopping does not wait for a backend that never answers") {
  live l;
  l.backend->fall_silent();
  raw_socket quick{l.port()}, slow{l.port()}, other{l.port()};
  quick.send(get("/v1/models"));
  slow.send(chat("tiny", false));
  other.send("GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n");
  contains(other.read_answer(), " 404 ");
  const auto before = std::chrono::steady_clock::now();
  l.server->stop(std::chrono::milliseconds{20});
  CHECK(std::chrono::steady_clock::now() - before < std::chrono::milliseconds{900});
  CHECK(l.server->connections() == 0);
  CHECK(l.backend.use_count() == 1);
}

TEST_CASE("too many connections are closed at once, from one address and in all") {
  gateway::server_options options;
  options.limits.connections_per_address_max = 2;
  live l{options};
  raw_socket a{l.port()}, b{l.port()};
  for (auto* s : {&a, &b}) {
    s->send(get("/health"));
    contains(s->read_answer(), "200 OK");
  }
  raw_socket c{l.port()};
  c.send(get("/health"));
  CHECK(c.read_to_end() == "");
  CHECK(l.server->connections() == 2);
}

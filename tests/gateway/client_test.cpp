#include "gateway/client.hpp"

#include <catch2/catch.hpp>
#include <fstream>

#include "gateway/server.hpp"
#include "tests/gateway/probe.hpp"

using namespace dlls;
using gateway::client;
using test::fake_backend;

namespace {

struct live {
  std::shared_ptr<fake_backend> backend =
      std::make_shared<fake_backend>(fake_backend::replies::threaded);
  std::unique_ptr<gateway::http_server> server;
  live() {
    gateway::server_options options;
    options.port = 0;
    server = gateway::http_server::start(options, backend).value();
  }
  client as(const std::string& key) const {
    gateway::client_options options;
    options.base_url = server->url();
    options.key = key;
    return client{options};
  }
};

}  // namespace

TEST_CASE("the client gets, posts, puts and deletes with its key") {
  live l;
  const auto c = l.as("sk-alice");
  CHECK(c.get("/health"));
  const auto id = l.backend->add_file("alice", "a", "b");
  const auto job = c.post(
      "/v1/jobs", R"({"kind":"checksum","files":[")" + id + "\"]}", {{"Idempotency-Key", "k"}});
  REQUIRE(job);
  CHECK(gateway::json_document::parse(*job)->text("/id") == "job-1");
  CHECK(l.backend->job_requests().at(0).idempotency_key == "k");
  CHECK(c.put("/v1/webhook", R"({"url":"https://example.com/"})"));
  CHECK(c.del("/v1/files/" + id));
}

TEST_CASE("the client turns a refusal back into the error that the server meant") {
  live l;
  const auto wrong = l.as("sk-wrong").get("/v1/models");
  CHECK(wrong.error().code == base::errc::unauthenticated);
  CHECK_FALSE(wrong.error().hint.empty());
  const auto c = l.as("sk-alice");
  CHECK(c.get("/v1/models/none").error().code == base::errc::not_found);
  CHECK(c.get("/v1/models/none").error().message.find("'none'") != std::string::npos);
  CHECK(c.post("/v1/jobs", "{}").error().code == base::errc::invalid_argument);
  for (const auto code :
       {base::errc::already_exists, base::errc::failed_precondition, base::errc::stale,
        base::errc::resource_exhausted, base::errc::storage_full, base::errc::unavailable,
        base::errc::deadline_exceeded, base::errc::permission_denied, base::errc::unsupported,
        base::errc::too_long, base::errc::internal}) {
    l.backend->fail_with({code, "because"});
    CHECK(c.get("/v1/models").error().code == code);
  }
}

TEST_CASE("nothing can be smuggled into the client's own request") {
  live l;
  CHECK(l.as("sk-alice\n").get("/health").error().code == base::errc::invalid_argument);
  const auto c = l.as("sk-alice");
  for (const auto* path : {"/health\r\nX: y", "/health HTTP/1.1", "/a b"})
    CHECK(c.get(path).error().code == base::errc::invalid_argument);
  CHECK(
      c.post("/v1/jobs", "{}", {{"Idempotency-Key", "a\r\nX: y"}}).error().code ==
      base::errc::invalid_argument);
}

TEST_CASE("without a server the client says what to look at") {
  gateway::client_options options;
  {
    live l;
    options.base_url = l.server->url();
  }
  const auto got = client{options}.get("/health");
  CHECK(got.error().code == base::errc::unavailable);
  CHECK_FALSE(got.error().hint.empty());
  options.base_url = "127.0.0.1:8080";
  CHECK(client{options}.get("/health").error().code == base::errc::invalid_argument);
}

TEST_CASE("the client uploads a file with progress and downloads it again") {
  live l;
  const auto c = l.as("sk-alice");
  const auto path = std::filesystem::temp_directory_path() /
                    ("dlls-client-" + std::to_string(l.server->port()) + ".jsonl");
  const std::string bytes(300'000, 'q');
  std::ofstream{path} << bytes;
  std::uint64_t last = 0;
  const auto sent = c.upload(path, "fine-tune", [&](std::uint64_t done, std::uint64_t total) {
    CHECK(done > last);
    CHECK(total == bytes.size());
    last = done;
  });
  std::filesystem::remove(path);
  REQUIRE(sent);
  CHECK(last == bytes.size());
  const auto id = gateway::json_document::parse(*sent)->text("/id").value();
  CHECK(l.backend->file_bytes(id) == bytes);
  std::string back;
  const auto keep = [&](std::string_view piece) { return back += piece, true; };
  CHECK(c.download("/v1/files/" + id + "/content", keep));
  CHECK(back == bytes);
  CHECK(c.upload(path, "fine-tune").error().code == base::errc::not_found);
}

TEST_CASE("an upload that the server refuses early gives the server's reason") {
  live l;
  const auto path = std::filesystem::temp_directory_path() /
                    ("dlls-refused-" + std::to_string(l.server->port()) + ".jsonl");
  std::ofstream{path} << std::string(3'000'000, 'q');
  l.backend->fail_with({base::errc::storage_full, "the disk is nearly full"});
  const auto refused = l.as("sk-alice").upload(path, "fine-tune");
  const auto unknown = l.as("sk-wrong").upload(path, "fine-tune");
  std::filesystem::remove(path);
  CHECK(refused.error().code == base::errc::storage_full);
  CHECK(unknown.error().code == base::errc::unauthenticated);
}

TEST_CASE("the client reads events until [DONE], or until it has enough") {
  live l;
  const auto c = l.as("sk-alice");
  const auto body = [](const std::string& model) {
    return R"({"model":")" + model +
           R"(","stream":true,"messages":[{"role":"user","content":"a b c"}]})";
  };
  std::vector<std::string> events;
  const auto keep = [&](std::string_view data) { return events.emplace_back(data), true; };
  CHECK(c.events("/v1/chat/completions", body("tiny"), keep));
  REQUIRE(events.size() == 6);
  CHECK(events.back() == "[DONE]");
  CHECK(gateway::json_document::parse(events[1])->text("/choices/0/delta/content") == "a");
  CHECK(c.events("/v1/chat/completions", body("silent"), [](std::string_view data) {
    return data.find("Wait") == std::string_view::npos;
  }));
  CHECK(l.backend->wait_cancelled(1));
  const auto broken = c.events("/v1/chat/completions", body("breaking"), keep);
  REQUIRE_FALSE(broken);
  CHECK(broken.error().message == "the node went away");
  CHECK(broken.error().code == base::errc::unavailable);
  CHECK(c.events("/v1/chat/completions", body("none"), keep).error().code == base::errc::not_found);
}

TEST_CASE("a JSON document is read by pointers and never throws") {
  const auto j = gateway::json_document::parse(R"({"a":[1,{"b":"x"},null],"c/d":true,"e":2.5})");
  REQUIRE(j);
  CHECK(j->integer("/a/0") == 1);
  CHECK(j->text("/a/1/b") == "x");
  CHECK(j->boolean("/c~1d") == true);
  CHECK(j->number("/e") == 2.5);
  CHECK_FALSE(j->integer("/e"));
  CHECK_FALSE(j->text("/a/9"));
  CHECK_FALSE(j->text("no pointer"));
  CHECK_FALSE(j->has("/a/2"));
  CHECK(j->size("/a") == 3);
  CHECK(j->keys("") == std::vector<std::string>{"a", "c/d", "e"});
  CHECK(j->dump("/a/1") == R"({"b":"x"})");
  CHECK_FALSE(gateway::json_document::parse("{"));
  CHECK(gateway::json_quoted("a\"\n\xff") == "\"a\\\"\\n\xEF\xBF\xBD\"");
}

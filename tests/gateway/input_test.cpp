#include <catch2/catch.hpp>

#include "gateway/detail/errors.hpp"
#include "gateway/detail/header_gate.hpp"
#include "gateway/detail/multipart.hpp"
#include "gateway/detail/routes.hpp"
#include "gateway/detail/text.hpp"
#include "gateway/detail/throttle.hpp"
#include "tests/gateway/probe.hpp"

using namespace dlls;
using namespace dlls::gateway::detail;
using base::errc;

TEST_CASE("the gate lets plain requests pass") {
  for (const std::string block : {
           "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
           "GET /x?y=%20 HTTP/1.1\r\nhost: a:80\r\nX: \ttab\r\n\r\n",
           "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
           "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n",
           "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
           "GET / HTTP/1.0\r\n\r\n",
           "GET / HTTP/1.1\r\nHost: a\r\nX: caf\xC3\xA9\r\n\r\n",
       }) {
    INFO(block);
    CHECK(check_header_block(block));
  }
}

TEST_CASE("the gate refuses every shape that two parsers could read differently") {
  for (const std::string block : {
           "GET / HTTP/1.1\r\n\r\n",                        // no Host
           "GET / HTTP/1.1\r\nHost:\r\n\r\n",               // empty Host
           "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",  // two Hosts
           "GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n",  // two Hosts, old protocol
           "GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n",  // obs-fold
           "GET / HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n",    // space before the colon
           "GET / HTTP/1.1\r\nHost: a\r\n: y\r\n\r\n",      // no name
           "GET / HTTP/1.1\r\nHost: a\r\nXy\r\n\r\n",       // no colon
           "GET / HTTP/1.1\nHost: a\r\n\r\n",               // bare LF
           "GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n",       // bare LF
           "GET / HTTP/1.1\r\nHost: a\rX: y\r\n\r\n",       // bare CR
           "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",         // leading line
           "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n",
           "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n",
           "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
           "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\r\n",
           "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0b"
           "chunked\r\n\r\n",
           "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
           "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: "
           "chunked\r\n\r\n",
           "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n",
           "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\n",
           "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 3\r\n\r\n",
           "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\n",
           "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
           "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x3\r\n\r\n",
           "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n",
           "POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n",
           "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\n\r\n",
           "GET / HTTP/1.1\r\nHost: a\r\nConnection: close, Upgrade\r\n\r\n",
           "GET / HTTP/2.0\r\nHost: a\r\n\r\n",
           "GET / http/1.1\r\nHost: a\r\n\r\n",
           "GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
           "GET * HTTP/1.1\r\nHost: a\r\n\r\n",
           "GET / x HTTP/1.1\r\nHost: a\r\n\r\n",
           "GET /\x7f HTTP/1.1\r\nHost: a\r\n\r\n",
           "GET /#f HTTP/1.1\r\nHost: a\r\n\r\n",
           "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
           "G@T / HTTP/1.1\r\nHost: a\r\n\r\n",
           "PRI * HTTP/2.0\r\n\r\n",
           "GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer a\r\nAuthorization: Bearer "
           "b\r\n\r\n",
       }) {
    INFO(block);
    CHECK_FALSE(check_header_block(block));
  }
  CHECK_FALSE(check_header_block(std::string("GET / HTTP/1.1\r\nHost: a\0b\r\n\r\n", 30)));
  std::string many = "GET / HTTP/1.1\r\nHost: a\r\n";
  for (int i = 0; i < 100; ++i) many += "a: b\r\n";
  CHECK_FALSE(check_header_block(many + "\r\n"));
}

TEST_CASE("a header block's end is found") {
  CHECK(header_block_size("") == 0);
  CHECK(header_block_size("GET / HTTP/1.1\r\n\r") == 0);
  CHECK(header_block_size("a\r\n\r\nb") == 5);
}

namespace {

struct collected {
  std::vector<std::pair<form_part, std::string>> parts;
  base::result<> outcome;
  bool complete = false;
};

collected collect(std::string_view body, std::size_t step, std::string_view boundary = "b") {
  collected out;
  bool open = false;
  multipart_parser parser{
      boundary,
      {[&](const form_part& p) -> base::result<> {
         out.parts.emplace_back(p, "");
         open = true;
         return {};
       },
       [&](std::string_view bytes) -> base::result<> {
         out.parts.back().second += bytes;
         return {};
       },
       [&]() -> base::result<> {
         CHECK(std::exchange(open, false));
         return {};
       }}};
  for (std::size_t i = 0; i < body.size() && out.outcome; i += step)
    out.outcome = parser.write(body.substr(i, step));
  out.complete = parser.complete();
  return out;
}

}  // namespace

TEST_CASE("a multipart body reads the same in pieces of any size") {
  const std::string body =
      "--b\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nfine-tune\r\n"
      "--b  \r\nContent-Disposition: form-data; name=\"file\"; filename=\"a \\\"q\\\".jsonl\"\r\n"
      "Content-Type: text/plain\r\n\r\nline\r\n--bx\r\n-\r\n--\r\n\r\n"
      "--b\r\ncontent-disposition: form-data; name=empty\r\n\r\n\r\n--b--\r\nepilogue";
  for (std::size_t step = 1; step <= body.size(); ++step) {
    INFO("pieces of " << step);
    const auto got = collect(body, step);
    // "--bx" starts like the delimiter: RFC 2046 makes it a malformed boundary line.
    REQUIRE_FALSE(got.outcome);
  }
  auto fixed = body;
  fixed.replace(fixed.find("--bx"), 4, "--cx");
  for (std::size_t step = 1; step <= fixed.size(); ++step) {
    INFO("pieces of " << step);
    const auto got = collect(fixed, step);
    REQUIRE(got.outcome);
    REQUIRE(got.complete);
    REQUIRE(got.parts.size() == 3);
    CHECK(got.parts[0].first.name == "purpose");
    CHECK(got.parts[0].second == "fine-tune");
    CHECK_FALSE(got.parts[0].first.filename);
    CHECK(got.parts[1].first.filename == "a \"q\".jsonl");
    CHECK(got.parts[1].second == "line\r\n--cx\r\n-\r\n--\r\n");
    CHECK(got.parts[2].second.empty());
  }
}

TEST_CASE("malformed multipart bodies are refused") {
  for (const std::string body : {
           "preamble\r\n--b\r\n",
           "--c\r\n",
           "--b\r\n\r\ntext\r\n--b--",
           "--b\r\nContent-Type: text/plain\r\n\r\nx\r\n--b--",
           "--b\r\nContent-Disposition: attachment; name=x\r\n\r\nx\r\n--b--",
           "--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--",
           "--b\r\nContent-Disposition: form-data; name=\"x\r\n\r\nx\r\n--b--",
           "--b\r\nContent-Disposition: form-data; name=x; name=y\r\n\r\nx\r\n--b--",
           "--b\r\nContent-Disposition: form-data; name=x\r\nContent-Disposition: form-data; "
           "name=y\r\n\r\nx\r\n--b--",
           "--b\r\nContent-Disposition: form-data; name=x\r\nContent-Transfer-Encoding: "
           "base64\r\n\r\nx\r\n--b--",
           "--b\r\nfolded\r\n line: x\r\n\r\nx\r\n--b--",
           "--bad\r\n",
       }) {
    INFO(body);
    CHECK_FALSE(collect(body, body.size()).outcome);
    CHECK_FALSE(collect(body, 1).outcome);
  }
  CHECK_FALSE(collect("--b\r\nX: " + std::string(5000, 'y'), 100).outcome);
  std::string many;
  for (int i = 0; i < 40; ++i)
    many += (i ? "\r\n--b\r\n" : "--b\r\n") +
            std::string{"Content-Disposition: form-data; name=x\r\n\r\n"};
  CHECK_FALSE(collect(many, many.size()).outcome);
  const auto cut = collect("--b\r\nContent-Disposition: form-data; name=x\r\n\r\nx\r\n--b", 5);
  CHECK(cut.outcome);
  CHECK_FALSE(cut.complete);
}

TEST_CASE("a boundary is taken only from a form") {
  CHECK(multipart_boundary("multipart/form-data; boundary=abc") == "abc");
  CHECK(multipart_boundary("Multipart/Form-Data; charset=x; boundary=\"a b\"") == std::nullopt);
  CHECK(multipart_boundary("multipart/form-data; boundary=\"a'b\"") == "a'b");
  CHECK_FALSE(multipart_boundary("multipart/mixed; boundary=abc"));
  CHECK_FALSE(multipart_boundary("multipart/form-data"));
  CHECK_FALSE(multipart_boundary("multipart/form-data; boundary="));
  CHECK_FALSE(multipart_boundary("multipart/form-data; boundary=a; boundary=b"));
  CHECK_FALSE(multipart_boundary("multipart/form-data; boundary=" + std::string(71, 'x')));
  CHECK_FALSE(multipart_boundary("application/json"));
}

TEST_CASE("URLs are read strictly") {
  const auto u = parse_url("https://Example.COM/a?b=c");
  REQUIRE(u);
  CHECK(u->tls);
  CHECK(u->host == "example.com");
  CHECK(u->port == 443);
  CHECK(u->target == "/a?b=c");
  CHECK(u->host_field() == "example.com");
  CHECK(parse_url("http://[::1]:81")->host_field() == "[::1]:81");
  CHECK(parse_url("http://a?q")->target == "/?q");
  for (const std::string bad :
       {"ftp://a/", "https:/a", "https://", "https://u@a/", "https://u:p@a/", "https://a/#f",
        "https://a b/", "https://a:0/", "https://a:65536/", "https://a:8x/", "https://[::1/",
        "https://[zz]/", "https://a\\b/", "https://a\r\nX: y/", "https://[::1]x/", "//a/"}) {
    INFO(bad);
    CHECK_FALSE(parse_url(bad));
  }
}

TEST_CASE("percent-decoding refuses what is not an escape") {
  CHECK(percent_decoded("a%20b") == "a b");
  CHECK(percent_decoded("a+b") == "a+b");
  CHECK(percent_decoded("a+b", true) == "a b");
  CHECK_FALSE(percent_decoded("%"));
  CHECK_FALSE(percent_decoded("%2"));
  CHECK_FALSE(percent_decoded("%zz"));
  CHECK_FALSE(percent_decoded("%00"));
  CHECK(percent_decoded(percent_encoded("a/b c\xC3\xA9?&=")) == "a/b c\xC3\xA9?&=");
}

TEST_CASE("bytes that are not UTF-8 become replacement characters") {
  CHECK(valid_utf8("h\xC3\xA9") == "h\xC3\xA9");
  CHECK(valid_utf8("\xC3") == "\xEF\xBF\xBD");
  CHECK(
      valid_utf8("a\xFF\xE2\x82\xAC\xE2\x82z") ==
      "a\xEF\xBF\xBD\xE2\x82\xAC\xEF\xBF\xBD\xEF\xBF\xBDz");
}

TEST_CASE("the throttle forgives with time and forgets the oldest") {
  using std::chrono::milliseconds;
  auth_throttle throttle;
  const milliseconds t0{1'000'000};
  for (int i = 0; i < 10; ++i) {
    CHECK(throttle.may_try("a", t0));
    throttle.failed("a", t0);
  }
  CHECK_FALSE(throttle.may_try("a", t0));
  CHECK(throttle.may_try("b", t0));
  CHECK(throttle.may_try("a", t0 + auth_throttle::forgiven_every));
  for (int i = 0; i < 2000; ++i) throttle.failed("x" + std::to_string(i), t0 + milliseconds{i + 1});
  CHECK(throttle.may_try("a", t0));
}

TEST_CASE("an IPv6 client is known by its /64") {
  CHECK(throttle_key("2001:db8:1:2:3:4:5:6") == throttle_key("2001:db8:1:2::1"));
  CHECK(throttle_key("2001:db8:1:2::1") != throttle_key("2001:db8:1:3::1"));
  CHECK(throttle_key("::ffff:192.0.2.1") == "192.0.2.1");
  CHECK(throttle_key("192.0.2.1") == "192.0.2.1");
}

TEST_CASE("routes match whole segments and tell a wrong method from a wrong path") {
  CHECK(find_route("GET", "/v1/models/a/b").found);
  CHECK(find_route("GET", "/v1/models/a/b").parameters == std::vector<std::string>{"a/b"});
  CHECK(find_route("HEAD", "/health").found);
  CHECK(find_route("GET", "/v1/jobs/x/artifacts/y").parameters.size() == 2);
  for (const auto* path :
       {"/", "/v1", "/v1/", "/v1/models/", "/v1/jobs//cancel", "/health/", "//health",
        "/v1/files/a/content/b", "/v1/files/%zz", "/HEALTH"}) {
    INFO(path);
    CHECK_FALSE(find_route("GET", path).found);
  }
  const auto wrong = find_route("PATCH", "/v1/files");
  CHECK_FALSE(wrong.found);
  CHECK(wrong.allowed == "POST, GET");
  CHECK(find_route("GET", "/nowhere").allowed.empty());
}

TEST_CASE("each kind of failure has its status, and our own faults keep their text to themselves") {
  const auto status = [](errc code) { return api_error_of(base::error{code, "why"}).status; };
  CHECK(status(errc::invalid_argument) == 400);
  CHECK(status(errc::unsupported) == 400);
  CHECK(status(errc::too_long) == 400);
  CHECK(status(errc::unauthenticated) == 401);
  CHECK(status(errc::permission_denied) == 403);
  CHECK(status(errc::not_found) == 404);
  CHECK(status(errc::already_exists) == 409);
  CHECK(status(errc::failed_precondition) == 409);
  CHECK(status(errc::resource_exhausted) == 429);
  CHECK(status(errc::internal) == 500);
  CHECK(status(errc::unavailable) == 503);
  CHECK(status(errc::deadline_exceeded) == 504);
  CHECK(status(errc::storage_full) == 507);
  CHECK(
      api_error_of(base::error{errc::internal, "/secret/path"}).message.find("secret") ==
      std::string::npos);
  CHECK(
      api_error_of(base::error{errc::not_found, "no job", "look elsewhere"}).message ==
      "no job (look elsewhere)");
}

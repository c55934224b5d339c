#include <array>
#include <catch2/catch.hpp>

#include "tests/gateway/probe.hpp"

using namespace dlls;
using test::ask;
using test::fake_backend;

namespace {
const std::string path = "/v1/embeddings";
}

TEST_CASE("texts become OpenAI's list of embeddings") {
  fake_backend backend;
  const auto a = ask(backend, "POST", path, {R"({"model":"tiny","input":["a","bcd"]})"});
  REQUIRE(a.status == 200);
  const auto j = a.json();
  CHECK(j.text("/object") == "list");
  CHECK(j.text("/model") == "tiny");
  CHECK(j.size("/data") == 2);
  CHECK(j.text("/data/1/object") == "embedding");
  CHECK(j.integer("/data/1/index") == 1);
  CHECK(j.dump("/data/1/embedding") == "[6E-1,8E-1,3]");
  CHECK(j.integer("/usage/prompt_tokens") == 4);
  CHECK(j.integer("/usage/total_tokens") == 4);
  const auto one = ask(backend, "POST", path, {R"({"model":"tiny","input":"ab","dimensions":2})"});
  CHECK(one.json().dump("/data/0/embedding") == "[6E-1,8E-1]");
}

TEST_CASE("base64 is the numbers' own bytes") {
  fake_backend backend;
  const auto a =
      ask(backend, "POST", path,
          {R"({"model":"tiny","input":"ab","dimensions":1,"encoding_format":"base64"})"});
  CHECK(a.json().text("/data/0/embedding") == "mpkZPw==");  // 0.6f, the low byte first
}

TEST_CASE("a wrong request for embeddings is refused with its place") {
  fake_backend backend;
  const auto all = std::to_array<std::pair<const char*, const char*>>({
      {R"({"input":"x"})", "model"},
      {R"({"model":"tiny"})", "input"},
      {R"({"model":"tiny","input":""})", "input"},
      {R"({"model":"tiny","input":[]})", "input"},
      {R"({"model":"tiny","input":{}})", "input"},
      {R"({"model":"tiny","input":["a",""]})", "input[1]"},
      {R"({"model":"tiny","input":[1,2]})", "input[0]"},
      {R"({"model":"tiny","input":"x","dimensions":0})", "dimensions"},
      {R"({"model":"tiny","input":"x","encoding_format":"hex"})", "encoding_format"},
  });
  for (const auto& [body, param] : all) {
    INFO(body);
    const auto a = ask(backend, "POST", path, {body});
    CHECK(a.status == 400);
    CHECK(a.error("param") == param);
  }
  const auto unknown = ask(backend, "POST", path, {R"({"model":"nobody","input":"x"})"});
  CHECK(unknown.status == 404);
  CHECK(unknown.error("code") == "model_not_found");
}

TEST_CASE("a client that goes has its embeddings cancelled") {
  fake_backend backend;
  const auto a = ask(backend, "POST", path, {R"({"model":"stuck","input":"x"})"});
  REQUIRE(a.whole->gone);
  a.whole->gone();
  CHECK(backend.cancelled() == 1);
}

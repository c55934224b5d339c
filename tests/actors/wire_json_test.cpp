#include "actors/wire_json.hpp"

#include <boost/json.hpp>
#include <catch2/catch.hpp>

#include "tests/support/catch_result.hpp"

using namespace dlls;
using namespace dlls::actors;
using base::errc;

namespace {

boost::json::value parsed(std::string_view text) { return parse_json(text).value(); }
std::string again(const boost::json::value& value) { return boost::json::serialize(value); }

}  // namespace

TEST_CASE("manifests and artifacts come back from their JSON as they were") {
  const manifest whole{
      {{"metrics.json", std::string(64, 'a'), 0},
       {"name \"with\" \\ and ä", std::string(64, 'b'), ~std::uint64_t{0}}},
      "ft:tiny:dlls:s:1",
      R"({"loss": 1e-9})"};
  for (const auto& one : {whole, manifest{}}) {
    const auto back = manifest_from(parsed(again(to_json(one))));
    REQUIRE(back);
    CHECK(*back == one);
  }
  CHECK(artifacts_from(parsed("[]")).value().empty());
}

TEST_CASE("a wrong artifact list is corrupt and the member is named") {
  const std::vector<std::pair<std::string, std::string>> wrong{
      {R"({})", "list"},
      {R"([1])", "name"},
      {R"([{"sha256": "a", "bytes": 1}])", "name"},
      {R"([{"name": "n", "bytes": 1}])", "sha256"},
      {R"([{"name": "n", "sha256": "a"}])", "bytes"},
      {R"([{"name": "n", "sha256": "a", "bytes": -1}])", "bytes"},
      {R"([{"name": "n", "sha256": "a", "bytes": 1.5}])", "bytes"},
      {R"([{"name": "n", "sha256": "a", "bytes": "1"}])", "bytes"},
      {R"([{"name": 7, "sha256": "a", "bytes": 1}])", "name"}};
  for (const auto& [text, member] : wrong) {
    CAPTURE(text);
    const auto got = artifacts_from(parsed(text));
    REQUIRE_FALSE(got);
    CHECK(got.error().code == errc::corrupt);
    CHECK_THAT(got.error().message, Catch::Contains(member));
  }
  CHECK(manifest_from(parsed(R"({"model": 1})")).error().code == errc::corrupt);
  CHECK(manifest_from(parsed(R"({"artifacts": 1})")).error().code == errc::corrupt);
}

TEST_CASE("every field of a generation survives its JSON") {
  generation_spec spec;
  spec.model = "tiny";
  spec.turns = {{"system", "be\nbrief"}, {"user", "hällo"}};
  spec.prompt = "p";
  spec.tokens_max = 17;
  spec.temperature = 0.25F, spec.top_p = 0.5F, spec.min_p = 0.125F;
  spec.repetition_penalty = 1.5F, spec.frequency_penalty = -0.5F, spec.presence_penalty = 0.75F;
  spec.top_k = 40;
  spec.seed = ~std::uint64_t{0};
  spec.stop = {"end", std::string("a\0b", 3)};
  spec.logit_bias = {{5, -100}, {0, 2.5F}};
  spec.logprobs = 3;
  spec.schema = R"({"type":"object","properties":{"b":{},"a":{}}})";
  spec.turns[1].calls = {{"c1", "f", "{\"a\":1}"}};
  spec.turns.emplace_back("tool", "7").answers = "c1";
  spec.offer.tools = R"([{"type":"function","function":{"name":"f"}}])";
  spec.offer.required = true, spec.offer.name = "f", spec.offer.parallel = false;
  const auto back = generation_from(parsed(again(to_json(spec))));
  REQUIRE(back);
  CHECK(back->turns.at(1).calls.at(0).arguments == "{\"a\":1}");
  CHECK(back->turns.at(2).answers == "c1");
  CHECK((back->offer.tools == spec.offer.tools && back->offer.name == "f"));
  CHECK((back->offer.required && !back->offer.parallel));
  CHECK(back->turns.size() == 3);
  CHECK(back->logit_bias.size() == 2);
  CHECK(back->stop == spec.stop);
  CHECK(back->schema == spec.schema);
  CHECK(again(to_json(*back)) == again(to_json(spec)));
  const auto least = generation_from(parsed(R"({"model": "m", "prompt": "x", "stop": "s"})"));
  REQUIRE(least);
  CHECK(least->temperature == 1);
  CHECK(least->logprobs == -1);
  CHECK(least->stop == std::vector<std::string>{"s"});
}

TEST_CASE("a generation takes OpenAI's choices of tools") {
  const auto offer = [](const std::string& more) {
    return generation_from(parsed(R"({"model": "m", "prompt": "x", "tools": [{}])" + more + "}"))
        .value()
        .offer;
  };
  CHECK((offer("").tools == "[{}]" && !offer("").required && offer("").parallel));
  CHECK(offer(R"(, "tool_choice": "none")").tools.empty());
  CHECK_FALSE(offer(R"(, "tool_choice": "auto")").required);
  CHECK(offer(R"(, "tool_choice": "required")").required);
}

TEST_CASE("a wrong generation is refused by the name of its member") {
  const std::vector<std::pair<std::string, std::string>> wrong{
      {R"("prompt": "x")", "model"},
      {R"("model": "m")", "messages"},
      {R"("model": "m", "prompt": "")", "messages"},
      {R"("model": "m", "messages": {})", "messages"},
      {R"("model": "m", "messages": [{"role": "user"}])", "content"},
      {R"("model": "m", "messages": [{"content": "x"}])", "role"},
      {R"("model": "m", "prompt": "x", "temperature": "hot")", "temperature"},
      {R"("model": "m", "prompt": "x", "schema": "{}")", "schema"},
      {R"("model": "m", "prompt": "x", "max_tokens": -1)", "max_tokens"},
      {R"("model": "m", "prompt": "x", "max_tokens": 1e30)", "max_tokens"},
      {R"("model": "m", "prompt": "x", "stop": [1])", "stop"},
      {R"("model": "m", "prompt": "x", "seed": -5)", "seed"},
      {R"("model": "m", "prompt": "x", "logit_bias": [[1]])", "logit_bias"},
      {R"("model": "m", "prompt": "x", "logit_bias": [[-1, 2]])", "logit_bias"},
      {R"("model": "m", "prompt": "x", "tools": {})", "tools"},
      {R"("model": "m", "prompt": "x", "tools": [], "tool_choice": 1)", "tool_choice"},
      {R"("model": "m", "prompt": "x", "tool_choice": {"function": {}})", "name"},
      {R"("model": "m", "prompt": "x", "parallel_tool_calls": 1)", "parallel_tool_calls"},
      {R"("model": "m", "messages": [{"role": "assistant", "tool_calls": [1]}])", "tool_calls"},
      {R"("model": "m", "prompt": "x", "logprobs": 1000)", "logprobs"}};
  for (const auto& [members, name] : wrong) {
    CAPTURE(members);
    const auto got = generation_from(parsed("{" + members + "}"));
    REQUIRE_FALSE(got);
    CHECK(got.error().code == errc::invalid_argument);
    CHECK_THAT(got.error().message, Catch::Contains("'" + name + "'"));
  }
}

TEST_CASE("text that is no JSON, or too deep, is corrupt and nothing worse") {
  for (const std::string text : {"", "{", "{\"a\":}", "nul", "\xff", "1 2"})
    CHECK(parse_json(text).error().code == errc::corrupt);
  CHECK(parse_json(std::string(30, '[') + std::string(30, ']')));
  CHECK(parse_json(std::string(100'000, '[')).error().code == errc::corrupt);
  CHECK(parse_json(std::string(40, '[') + std::string(40, ']')).error().code == errc::corrupt);
}

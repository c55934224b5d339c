#include "model/generate.hpp"

#include <catch2/catch.hpp>

#include "base/encoding.hpp"
#include "kernels/parallel.hpp"
#include "model/kv_cache.hpp"
#include "model/llama.hpp"
#include "tests/support/answers.hpp"

namespace dlls::model {
namespace {
using base::errc;

struct loaded : test::loaded_tiny_model {
  using loaded_tiny_model::loaded_tiny_model;
  std::vector<token_id> ids(std::string_view text) const { return vocabulary->encode(text, true); }
};

generation_request greedy(std::vector<token_id> prompt, std::uint32_t max_tokens) {
  generation_request request;
  request.prompt = std::move(prompt);
  request.max_tokens = max_tokens;
  request.how.temperature = 0;
  request.ignore_end = true;
  return request;
}

struct outcome {
  std::string text;
  std::vector<token_id> tokens;
  std::vector<generated_logprobs> logprobs;
  finish_reason reason = finish_reason::none;
  generation_usage usage;
  int steps_without_token = 0;
};

outcome run(const loaded& on, const generation_request& request) {
  kernels::thread_pool pool{1};
  auto made = generation::start(on.weights, on.vocabulary, request).value();
  outcome seen;
  while (!made.finished()) {
    const auto delta = made.step(pool);
    if (!delta) {
      ++seen.steps_without_token;
      continue;
    }
    CHECK(base::is_utf8(delta->text));
    seen.text += delta->text;
    seen.tokens.push_back(delta->token);
    if (delta->logprobs) seen.logprobs.push_back(*delta->logprobs);
  }
  CHECK_FALSE(made.step(pool).has_value());
  seen.reason = made.reason();
  seen.usage = made.usage();
  return seen;
}

errc refusal(const loaded& on, const generation_request& request) {
  const auto made = generation::start(on.weights, on.vocabulary, request);
  return made ? errc::ok : made.error().code;
}
}  // namespace

TEST_CASE("a greedy generation takes the likeliest token, each time from the whole text so far") {
  const loaded on;
  kernels::thread_pool pool{1};
  const auto made = run(on, greedy(on.ids("Hello the user"), 12));
  REQUIRE(made.tokens.size() == 12);
  CHECK(made.reason == finish_reason::length);
  CHECK(name(made.reason) == "length");
  CHECK(made.usage.completion_tokens == 12);
  CHECK(made.usage.prompt_tokens == on.ids("Hello the user").size());
  auto text = on.ids("Hello the user");
  std::vector<float> logits(on.weights->config().vocab);
  for (const auto token : made.tokens) {
    kv_cache fresh{on.weights->config(), 64, on.weights->kv_type()};
    forward(*on.weights, fresh, text, logits, pool);
    CHECK(top_logprobs(logits, 1).front().token == token);
    text.push_back(token);
  }
}

TEST_CASE("a long prompt is taken in by steps that return regularly") {
  const loaded on{{.context = 1024}};
  const std::vector<token_id> prompt(600, 70);
  kernels::thread_pool pool{1};
  auto made = generation::start(on.weights, on.vocabulary, greedy(prompt, 1)).value();
  CHECK(made.prefilled() == 0);
  CHECK_FALSE(made.step(pool).has_value());
  CHECK(made.prefilled() == Approx(256.0 / 600));
  CHECK_FALSE(made.step(pool).has_value());
  CHECK(made.step(pool).has_value());
  CHECK(made.prefilled() == 1);
  CHECK(made.finished());
  // The chunks leave no trace in the result.
  std::vector<float> logits(on.weights->config().vocab);
  kv_cache whole{on.weights->config(), 600, on.weights->kv_type()};
  forward(*on.weights, whole, prompt, logits, pool);
  CHECK(run(on, greedy(prompt, 1)).tokens.front() == top_logprobs(logits, 1).front().token);
}

TEST_CASE("a prompt that fills the context is refused with both numbers") {
  const loaded on;
  const auto made =
      generation::start(on.weights, on.vocabulary, greedy(std::vector<token_id>(130, 70), 4));
  REQUIRE(made.has_error());
  CHECK(made.error().code == errc::too_long);
  CHECK(made.error().message.find("130") != std::string::npos);
  CHECK(made.error().message.find("128") != std::string::npos);
}

TEST_CASE("a generation ends when the context is full") {
  const loaded on;
  auto request = greedy(std::vector<token_id>(120, 70), 500);
  CHECK(run(on, request).tokens.size() == 8);
  request.max_tokens.reset();
  const auto made = run(on, request);
  CHECK(made.tokens.size() == 8);
  CHECK(made.reason == finish_reason::length);
  CHECK(run(on, greedy(std::vector<token_id>(127, 70), 500)).tokens.size() == 1);
}

TEST_CASE("an end token ends the answer and is no part of its text") {
  const loaded on;
  const auto free = run(on, greedy(on.ids("Hello"), 10));
  auto request = greedy(on.ids("Hello"), 10);
  request.ignore_end = false;
  request.end_tokens = {free.tokens[4]};
  const auto first = std::ranges::find(free.tokens, free.tokens[4]) - free.tokens.begin();
  const auto made = run(on, request);
  CHECK(made.reason == finish_reason::stop);
  CHECK(name(made.reason) == "stop");
  CHECK(made.tokens.size() == static_cast<std::size_t>(first) + 1);
  CHECK(free.text.starts_with(made.text.substr(0, made.text.find("\uFFFD"))));
}

TEST_CASE("a stop string cuts the text before itself, wherever its tokens end") {
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    CAPTURE(seed);
    const loaded on{{.seed = seed}};
    const auto free = run(on, greedy(on.ids("Hello"), 40));
    REQUIRE(free.text.size() > 8);
    // Two whole characters from the middle.
    auto from = free.text.size() / 2;
    while ((free.text[from] & 0xC0) == 0x80) ++from;
    auto to = std::min(from + 2, free.text.size());
    while (to < free.text.size() && (free.text[to] & 0xC0) == 0x80) ++to;
    auto request = greedy(on.ids("Hello"), 40);
    request.stop = {free.text.substr(from, to - from)};
    const auto made = run(on, request);
    CHECK(made.text == free.text.substr(0, free.text.find(request.stop.front())));
    CHECK(made.reason == finish_reason::stop);
    CHECK(made.tokens.size() <= free.tokens.size());
  }
}

TEST_CASE("log-probabilities are the model's own, whatever the sampling") {
  const loaded on;
  auto request = greedy(on.ids("Hello"), 6);
  request.logprobs = 3;
  const auto made = run(on, request);
  REQUIRE(made.logprobs.size() == 6);
  for (std::size_t i = 0; i < 6; ++i) {
    const auto& [own, top] = made.logprobs[i];
    REQUIRE(top.size() == 3);
    CHECK(top[0].token == made.tokens[i]);
    CHECK(top[0].logprob == own);
    CHECK(top[0].logprob >= top[1].logprob);
    CHECK(own <= 0);
  }
  request.how.logit_bias = {{made.tokens[0], -100.0f}};
  const auto biased = run(on, request);
  CHECK(biased.tokens[0] != made.tokens[0]);
  CHECK(biased.logprobs[0].top[0].token == made.tokens[0]);
  request.logprobs = 0;
  CHECK(run(on, request).logprobs.front().top.empty());
}

TEST_CASE("the same seed generates the same text") {
  const loaded on;
  auto request = greedy(on.ids("Hello"), 20);
  request.how.temperature = 1;
  request.how.seed = 3;
  const auto first = run(on, request);
  CHECK(run(on, request).tokens == first.tokens);
  request.how.seed = 4;
  CHECK(run(on, request).tokens != first.tokens);
}

TEST_CASE("a request that can't be served is refused before any work") {
  const loaded on;
  const auto good = greedy(on.ids("Hello"), 4);
  CHECK(refusal(on, good) == errc::ok);
  auto with = [&](auto change) {
    auto request = good;
    change(request);
    return refusal(on, request);
  };
  using request = generation_request;
  CHECK(with([](request& r) { r.prompt.clear(); }) == errc::invalid_argument);
  CHECK(with([](request& r) { r.prompt = {-1}; }) == errc::invalid_argument);
  CHECK(with([](request& r) { r.prompt = {5000}; }) == errc::invalid_argument);
  CHECK(with([](request& r) { r.max_tokens = 0; }) == errc::invalid_argument);
  CHECK(with([](request& r) { r.stop = {""}; }) == errc::invalid_argument);
  CHECK(with([](request& r) { r.stop = {"\xFF"}; }) == errc::invalid_argument);
  CHECK(with([](request& r) { r.stop.resize(17, "x"); }) == errc::invalid_argument);
  CHECK(with([](request& r) { r.logprobs = 1000; }) == errc::invalid_argument);
  CHECK(with([](request& r) { r.how.top_p = 7; }) == errc::invalid_argument);
}

TEST_CASE("a tokenizer with more tokens than the model has is refused") {
  const loaded on;
  test::temp_folder folder;
  auto larger = test::make_tiny_vocabulary();
  larger.tokens.push_back("one more");
  larger.types.push_back(1);
  gguf_writer out;
  test::set_tiny_metadata(out, {});
  out.set_strings("tokenizer.ggml.tokens", larger.tokens);
  out.set_i32s("tokenizer.ggml.token_type", larger.types);
  REQUIRE(out.write(folder / "v.gguf"));
  const auto other = tokenizer::from(*gguf_file::open(folder / "v.gguf").value()).value();
  const auto made = generation::start(on.weights, other, greedy(on.ids("Hello"), 4));
  REQUIRE(made.has_error());
  CHECK(made.error().code == errc::corrupt);
}

}  // namespace dlls::model

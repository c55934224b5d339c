// Answers that keep to a schema: masks against the brute force, and models that would rather say
// something else.
#include "model/constraint.hpp"

#include <boost/json.hpp>
#include <catch2/catch.hpp>
#include <map>
#include <string>

#include "base/random.hpp"
#include "kernels/parallel.hpp"
#include "model/engine.hpp"
#include "model/json_schema.hpp"
#include "tests/support/answers.hpp"
#include "tests/support/json_schema_world.hpp"

namespace dlls::model {
namespace {
namespace json = boost::json;

using test::answer;

const test::tiny_model_options tiny{
    .type = tensor_type::q4_1, .dim = 64, .heads = 4, .kv_heads = 2, .context = 2048};

struct loaded : test::loaded_tiny_model {
  std::shared_ptr<const token_masks> masks;

  loaded()
      : loaded_tiny_model(tiny, activations::q8),
        masks(std::make_shared<const token_masks>(vocabulary)) {}
  constraint form(std::string_view schema) const {
    return {std::make_shared<const grammar>(json_schema_grammar(schema).value()), masks};
  }
};

// Nothing in it can go on for ever but the list, whose items the model must get tired of.
constexpr std::string_view finite = R"({"type":"object","properties":{
  "kind":{"enum":["cat","catfish","dog"]},"legs":{"type":"integer"},
  "tame":{"type":["boolean","null"]},"size":{"anyOf":[{"type":"number"},{"const":"hello"}]},
  "seen":{"type":"array","items":{"enum":["in","on","at the house"]},"maxItems":4}},
  "required":["kind","legs","tame","size","seen"],"additionalProperties":false})";

generation_request ask(const loaded& on, std::string_view schema, std::uint32_t max_tokens) {
  generation_request request;
  request.prompt = on.vocabulary->encode("the user is in", true);
  request.max_tokens = max_tokens;
  request.form = on.form(schema);
  return request;
}

bool fits(const loaded& on, std::string_view schema, const answer& a) {
  constrained_text text{on.form(schema)};
  for (const auto id : a.tokens)
    if (!on.vocabulary->is_end(id) && !text.add(id)) return false;
  return a.reason == finish_reason::length || text.complete();
}

// Of each token, whether its bytes may come, one after the other.
void check_by_force(const loaded& on, grammar_matcher& text, const token_set& allowed) {
  for (token_id id = 0; static_cast<std::size_t>(id) < on.vocabulary->vocab_size(); ++id) {
    const auto bytes = on.vocabulary->piece(id);
    bool good = !on.vocabulary->is_special(id) && !bytes.empty();
    for (std::size_t i = 0; good && i < bytes.size(); ++i)
      good = text.push(static_cast<std::uint8_t>(bytes[i]));
    while (text.pushed() > 0) text.pop();
    if (allowed.has(id) != good) {
      INFO("token " << id << " '" << bytes << "'");
      REQUIRE(allowed.has(id) == good);
    }
  }
}

}  // namespace

TEST_CASE("a mask has the tokens whose bytes may come one after the other, and no others") {
  const loaded on;
  const auto seed = std::random_device{}();
  INFO("seed " << seed);
  base::random_source random(seed);
  token_set allowed{on.vocabulary->vocab_size()};
  int states = 0;
  for (int i = 0; i < 60; ++i) {
    const auto schema = json::serialize(i == 0 ? json::value(true) : test::random_schema(random));
    INFO(schema);
    auto made = json_schema_grammar(schema);
    if (!made) continue;
    grammar_matcher text{std::make_shared<const grammar>(std::move(*made))};
    for (int n = 0; n < 40; ++n, ++states) {
      on.masks->allowed(text, allowed);
      check_by_force(on, text, allowed);
      std::vector<token_id> some;
      for (token_id id = 0; static_cast<std::size_t>(id) < on.vocabulary->vocab_size(); ++id)
        if (allowed.has(id)) some.push_back(id);
      CHECK(some.empty() == !text.open());
      if (some.empty()) break;
      for (const char c : on.vocabulary->piece(some[random.below(some.size())]))
        REQUIRE(text.push(static_cast<std::uint8_t>(c)));
      text.commit();
    }
  }
  CHECK(states > 300);
}

TEST_CASE("a model keeps to its form at any temperature and seed") {
  const loaded on;
  const auto schema = json::parse({finite.data(), finite.size()});
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    auto request = ask(on, finite, 400);
    request.how.temperature = static_cast<float>(seed % 5) / 2;
    request.how.seed = seed;
    if (seed % 3 == 0) request.how.top_p = 0.5f;
    if (seed % 4 == 0) request.how.repetition_penalty = 1.3f;
    const auto made = test::answer_alone(on, request);
    INFO("seed " << seed << ": " << made.text);
    REQUIRE(made.reason == finish_reason::stop);
    CHECK(test::satisfies(json::parse(made.text), schema, schema));
    CHECK(fits(on, finite, made));
  }
}

TEST_CASE("an end token comes where the text may end, and only there") {
  const loaded on;
  const auto end = on.vocabulary->eos();
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    auto request = ask(on, R"({"type":"array","items":{"type":"integer"},"minItems":2})", 300);
    request.how.logit_bias = {{end, 100.0f}};
    request.how.seed = seed;
    const auto made = test::answer_alone(on, request);
    INFO(made.text);
    if (made.reason == finish_reason::stop) CHECK(json::parse(made.text).get_array().size() >= 2);
    CHECK(made.tokens.back() != end);  // nothing can follow the bracket: it ended by itself
  }
  auto request = ask(on, R"({"type":"integer"})", 300);
  request.how.logit_bias = {{end, 100.0f}};
  const auto made = test::answer_alone(on, request);
  CHECK(made.reason == finish_reason::stop);
  CHECK(made.tokens.back() == end);  // a digit more could have followed
  CHECK(json::parse(made.text).is_int64());
  request.ignore_end = true;
  CHECK(test::answer_alone(on, request).tokens.back() != end);
}

TEST_CASE("an answer that is cut says so, and what there is fits") {
  const loaded on;
  for (std::uint32_t most = 1; most < 12; ++most) {
    const auto made = test::answer_alone(on, ask(on, finite, most));
    CHECK(made.reason == finish_reason::length);
    CHECK(made.tokens.size() == most);
    CHECK(fits(on, finite, made));
  }
}

TEST_CASE("the probabilities told are the model's own") {
  const loaded on;
  auto request = ask(on, finite, 1);
  request.logprobs = 2;
  kernels::thread_pool pool(1);
  auto free_request = request;
  free_request.form.reset();
  free_request.how.temperature = 0;
  auto bound = generation::start(on.weights, on.vocabulary, request).value();
  auto unbound = generation::start(on.weights, on.vocabulary, free_request).value();
  const auto a = bound.step(pool), b = unbound.step(pool);
  REQUIRE(a->logprobs);
  CHECK(a->logprobs->top[0].token == b->logprobs->top[0].token);
  CHECK(a->logprobs->top[0].logprob == b->logprobs->top[0].logprob);
  CHECK(a->logprobs->logprob < a->logprobs->top[0].logprob);
}

TEST_CASE("a vocabulary that cannot spell the form ends the answer") {
  const loaded on;
  std::vector<float> logits(on.weights->config().vocab, 0.0f);
  // A model whose numbers are none chooses token 0, which may not come.
  auto broken = sequence::begin(on.weights->config(), on.vocabulary, ask(on, finite, 10)).value();
  std::ranges::fill(logits, std::numeric_limits<float>::quiet_NaN());
  const auto delta = broken.accept(logits);
  CHECK(broken.finished());
  CHECK(delta.text.empty());
}

TEST_CASE("answers that keep to a form are the same together, guessed, preempted or alone") {
  const loaded on;
  const auto seed = std::random_device{}();
  INFO("seed " << seed);
  base::random_source random(seed);
  engine_limits limits;
  limits.running_max = 6;
  limits.cache_bytes = 5 * kv_pool::page_bytes(on.weights->config(), on.weights->kv_type());
  const auto e = engine::make(on.weights, on.vocabulary, limits).value();
  std::map<engine::sequence_id, generation_request> asked;
  std::map<engine::sequence_id, answer> seen;
  for (int i = 0; i < 16; ++i) {
    auto request = i % 4 == 0 ? ask(on, any_json_object, 60) : ask(on, finite, 200);
    if (i % 4 == 3) request.form.reset();
    request.how.temperature = i % 2 ? 0.0f : 0.9f;
    request.how.seed = random();
    const auto who = e->add(e->begin(request).value(), "a").value();
    asked.emplace(who, std::move(request));
  }
  kernels::thread_pool pool(2);
  while (!e->idle())
    for (const auto& one : e->step(pool)) {
      auto& a = seen[one.who];
      a.text += one.delta.text;
      a.tokens.push_back(one.delta.token);
      a.reason = one.reason;
    }
  for (const auto& [who, request] : asked) {
    INFO("sequence " << who);
    CHECK(seen[who] == test::answer_alone(on, request));
  }
  CHECK(e->load().preemptions > 0);  // otherwise the test shows less than it says
  CHECK(e->load().guessed_right > 0);
}

}  // namespace dlls::model

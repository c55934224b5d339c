// A smaller model that guesses ahead: it may only change how long an answer takes.
#include "model/drafter.hpp"

#include <catch2/catch.hpp>
#include <map>
#include <random>

#include "base/random.hpp"
#include "model/quantise.hpp"
#include "tests/model/engine_fixture.hpp"

namespace dlls::model {
namespace {
using base::errc;
using namespace test;

// A model and what it becomes with a quarter of the bytes, which mostly says the same.
struct pair {
  loaded target{{.dim = 64, .heads = 4, .kv_heads = 2, .context = 2048}};
  draft_model draft = smaller({.dim = 64, .heads = 4, .kv_heads = 2, .context = 2048});

  static draft_model smaller(const tiny_model_options& of) {
    const temp_folder folder;
    REQUIRE(write_tiny_model(folder / "m.gguf", of));
    kernels::thread_pool pool(1);
    static_cast<void>(quantise_file(
                          *gguf_file::open(folder / "m.gguf").value(), folder / "d.gguf",
                          quantisation_named("q8_0").value(), false, pool,
                          [](auto, auto) { return true; })
                          .value());
    const auto file = gguf_file::open(folder / "d.gguf").value();
    return {llama::load(file).value(), tokenizer::from(*file).value()};
  }

  std::unique_ptr<engine> make(engine_limits limits, std::uint32_t pages = 1000) const {
    limits.cache_bytes =
        pages * (kv_pool::page_bytes(target.weights->config(), target.weights->kv_type()) +
                 drafter::page_bytes(draft, limits.cache_type));
    return engine::make(target.weights, target.vocabulary, limits, draft).value();
  }
};

// A model that says something else: other weights.
draft_model stranger(std::uint32_t context = 2048) {
  loaded other({.seed = 99, .type = tensor_type::q4_0, .dim = 32, .context = context});
  return {other.weights, other.vocabulary};
}

generation_request varied(std::vector<token_id> prompt, std::uint32_t max_tokens) {
  auto request = ask(std::move(prompt), max_tokens);
  request.how.repetition_penalty = 1.3f;  // otherwise it soon repeats itself
  return request;
}

TEST_CASE("as many tokens are guessed as give the most in a time") {
  CHECK(draft_length(1.0, 0.1, 7) == 7);
  CHECK(draft_length(0.0, 0.1, 7) == 0);
  CHECK(draft_length(0.5, 0.6, 7) == 0);  // a guess costs more than it brings
  CHECK(draft_length(0.5, 0.4, 7) == 0);  // 1.5 in 1.4 passes: hardly more than it costs
  CHECK(draft_length(0.5, 0.3, 7) == 1);
  CHECK(draft_length(0.9, 0.1, 0) == 0);
  // 1 + .8 + .64 + .512 = 2.952 in 1.6 passes; with two 2.44 in 1.4, with four 3.3616 in 1.8.
  CHECK(draft_length(0.8, 0.2, 7) == 4);
  CHECK(draft_length(0.8, 0.2, 3) == 3);
  CHECK(draft_length(0.8, 0.3, 7) == 3);
}

TEST_CASE("answers with a draft model are those without, whatever comes, goes and gives way") {
  pair on;
  const bool wrong = GENERATE(false, true);
  if (wrong) on.draft = stranger();
  const auto seed = std::random_device{}();
  INFO("seed " << seed << (wrong ? ", another model's guesses" : ""));
  base::random_source random(seed);
  engine_load all;
  for (const std::uint32_t pages : {40, 7}) {
    INFO("pages " << pages);
    const auto e = on.make({.running_max = 4, .waiting_max = 100}, pages);
    std::map<engine::sequence_id, generation_request> asked;
    engine_answers seen;
    int to_come = 12;
    while (to_come > 0 || !e->idle()) {
      if (to_come > 0 && (e->idle() || random.below(5) == 0)) {
        --to_come;
        auto request = varied(
            prompt_of(1 + random.below(200), random()),
            1 + static_cast<std::uint32_t>(random.below(150)));
        if (random.below(3) == 0) {
          request.how.temperature = 0.5f;
          request.how.seed = random();
        }
        request.ignore_end = random.below(2) == 0;
        const auto who = add(*e, request);
        asked.emplace(who, std::move(request));
      }
      step(*e, seen);
    }
    for (const auto& [who, request] : asked) {
      INFO("sequence " << who);
      CHECK(seen[who] == test::answer_alone(on.target, request));
    }
    const auto load = e->load();
    CHECK(load.pages_free == load.pages);
    all.preemptions += load.preemptions;
    all.drafted += load.drafted;
    all.drafted_right += load.drafted_right;
  }
  CHECK(all.preemptions > 0);  // otherwise the test shows less than it says
  CHECK(all.drafted > 0);
  CHECK(all.drafted_right < all.drafted);
  if (!wrong) CHECK(all.drafted_right > all.drafted / 2);
}

TEST_CASE("a good draft model saves passes, a bad one is soon not asked any more") {
  pair on;
  const auto steps_of = [&](engine& e) {
    engine_answers seen;
    const auto who = add(e, varied(prompt_of(100, 5), 300));
    std::size_t steps = 0;
    for (; !e.idle(); ++steps) step(e, seen);
    CHECK(seen[who].tokens.size() == 300);
    return steps;
  };
  const auto good = on.make({});
  CHECK(steps_of(*good) < 270);
  on.draft = stranger();
  const auto bad = on.make({});
  CHECK(steps_of(*bad) > 250);
  CHECK(bad->load().drafted < 60);
  const auto none = on.make({.guessing_rows_max = 0});
  CHECK(steps_of(*none) == 300);
  CHECK(none->load().drafted == 0);
}

TEST_CASE("a long prompt is taken in by the draft model piece by piece, and found there again") {
  const pair on;
  kernels::thread_pool pool(1);
  drafter d(on.draft, on.target.weights->bytes(), {}, 100);
  const auto tokens = prompt_of(300, 8);
  const auto guesses_after = [&](drafter::text& text) {
    std::size_t passes = 1;
    for (; passes < 20; ++passes) {
      std::vector<drafter::request> asked{{&text, tokens, 4}};
      d.guess(asked, pool);
      if (!text.guessed().empty()) break;
      d.settle(text, tokens);
    }
    return passes;
  };
  auto first = d.begin();
  CHECK(guesses_after(first) == 5);  // 64 at a time
  const std::vector<token_id> said(first.guessed().begin(), first.guessed().end());
  d.settle(first, tokens);
  auto second = d.begin();
  CHECK(guesses_after(second) == 1);  // the first one's pages
  CHECK(std::ranges::equal(second.guessed(), said));
  // What it guessed is what it would say itself.
  auto alone = generation::start(on.draft.weights, on.draft.vocabulary, ask(tokens, 4)).value();
  std::vector<token_id> answer;
  while (!alone.finished())
    if (const auto delta = alone.step(pool)) answer.push_back(delta->token);
  answer.resize(said.size());
  CHECK(answer == said);
}

TEST_CASE(
    "a draft model with a shorter context, or no room in its cache, guesses as far as it can") {
  pair on;
  on.draft = pair::smaller({.dim = 64, .heads = 4, .kv_heads = 2, .context = 128});
  const auto e = on.make({});
  const auto request = varied(prompt_of(60, 6), 200);
  const auto who = add(*e, request);
  CHECK(run(*e)[who] == test::answer_alone(on.target, request));
  CHECK(e->load().drafted > 0);

  kernels::thread_pool pool(1);
  drafter full(on.draft, on.target.weights->bytes(), {}, 1);
  auto text = full.begin();
  const auto tokens = prompt_of(100, 6);
  for (const std::size_t n : {30, 64, 70, 100}) {
    std::vector<drafter::request> asked{{&text, std::span{tokens}.first(n), 4}};
    full.guess(asked, pool);
    CHECK(text.guessed().empty() == (n > 60));
    full.settle(text, std::span{tokens}.first(n));
  }
}

TEST_CASE("a draft model with another vocabulary is refused with what differs") {
  const loaded target(tiny);
  const auto refused = [&](const draft_model& draft) {
    return engine::make(target.weights, target.vocabulary, {}, draft).error();
  };
  const temp_folder folder;
  const auto with_tokens = [&](std::vector<std::string> tokens, std::vector<std::int32_t> types) {
    gguf_writer out;
    out.set_string("tokenizer.ggml.model", "gpt2");
    out.set_string("tokenizer.ggml.pre", "smollm");
    out.set_strings("tokenizer.ggml.tokens", std::move(tokens));
    out.set_i32s("tokenizer.ggml.token_type", std::move(types));
    out.set_strings("tokenizer.ggml.merges", {});
    REQUIRE(out.write(folder / "v.gguf"));
    return draft_model{
        target.weights, tokenizer::from(*gguf_file::open(folder / "v.gguf").value()).value()};
  };
  auto vocabulary = make_tiny_vocabulary();
  auto fewer = vocabulary;
  fewer.tokens.pop_back();
  fewer.types.pop_back();
  const auto short_one = refused(with_tokens(fewer.tokens, fewer.types));
  CHECK(short_one.code == errc::invalid_argument);
  CHECK_THAT(short_one.message, Catch::Contains("289") && Catch::Contains("290"));
  auto other = vocabulary;
  std::swap(other.tokens[70], other.tokens[71]);
  const auto swapped = refused(with_tokens(other.tokens, other.types));
  CHECK(swapped.code == errc::invalid_argument);
  CHECK_THAT(swapped.message, Catch::Contains("token 70"));
  auto special = vocabulary;
  special.types[5] = 3;
  CHECK_THAT(
      refused(with_tokens(special.tokens, special.types)).message, Catch::Contains("token 5"));
  auto more = vocabulary;
  for (int i = 0; i < 100; ++i) {
    more.tokens.push_back("more" + std::to_string(i));
    more.types.push_back(1);
  }
  CHECK(refused(with_tokens(more.tokens, more.types)).code == errc::corrupt);
}

}  // namespace
}  // namespace dlls::model

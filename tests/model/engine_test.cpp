// Many answers at once, each of which must be what it would have been alone.
#include "model/engine.hpp"

#include <catch2/catch.hpp>
#include <map>

#include "base/random.hpp"
#include "tests/model/engine_fixture.hpp"

namespace dlls::model {
namespace {
using base::errc;
using namespace test;
using kernels::element;

// Its heads are whole blocks, which a cache of q8_0 wants.
const test::tiny_model_options whole_blocks{
    .type = tensor_type::q4_1, .dim = 64, .heads = 2, .kv_heads = 1, .context = 2048};

TEST_CASE("answers made together are those made alone, whatever comes, goes and gives way") {
  const auto type = GENERATE(element::f16, element::q8_0);
  const loaded on(type == element::q8_0 ? whole_blocks : tiny);
  const auto seed = std::random_device{}();
  INFO("seed " << seed << ", cache of type " << static_cast<int>(type));
  base::random_source random(seed);
  std::uint64_t preemptions = 0, shared = 0, guessed = 0, right = 0;
  for (const std::uint32_t pages : {40, 14}) {
    INFO("pages " << pages);
    engine_limits limits;
    limits.cache_type = type;
    limits.running_max = 6;
    limits.waiting_max = 100;
    const auto e = on.make(limits, pages);
    std::map<engine::sequence_id, generation_request> asked;
    engine_answers seen;
    int to_come = 25;
    while (to_come > 0 || !e->idle()) {
      if (to_come > 0 && (e->idle() || random.below(3) == 0)) {
        --to_come;
        // Some begin alike.
        auto prompt = prompt_of(random.below(2) ? 150 : 0, 7);
        const auto own = prompt_of(1 + random.below(300), random());
        prompt.insert(prompt.end(), own.begin(), own.end());
        auto request = ask(std::move(prompt), 1 + static_cast<std::uint32_t>(random.below(120)));
        if (random.below(2)) {
          request.how.temperature = 0.8f;
          request.how.seed = random();
          request.how.frequency_penalty = 0.5f;
        }
        if (random.below(4) == 0) request.logprobs = 2;
        const auto who = add(*e, request, random.below(2) ? "a" : "b");
        asked.emplace(who, std::move(request));
      }
      if (random.below(40) == 0 && !asked.empty()) {
        const auto who = asked.begin()->first;
        e->cancel(who);
        if (seen[who].reason == finish_reason::none) asked.erase(who);
      }
      step(*e, seen);
    }
    for (const auto& [who, request] : asked) {
      INFO("sequence " << who);
      CHECK(seen[who] == test::answer_alone(on, request, type));
    }
    const auto load = e->load();
    CHECK(load.pages_free == load.pages);
    preemptions += load.preemptions;
    shared += load.shared_tokens;
    guessed += load.guessed;
    right += load.guessed_right;
  }
  CHECK(preemptions > 0);  // otherwise the test shows less than it says
  CHECK(shared > 0);
  CHECK(right > 0);
  CHECK(right < guessed);
}

TEST_CASE("a long prompt does not keep running answers waiting") {
  const loaded on(tiny);
  const auto e = on.make({.running_max = 4});
  engine_answers seen;
  const auto talking = add(*e, ask(prompt_of(5, 1), 60));
  step(*e, seen);
  const auto longest = add(*e, ask(prompt_of(1500, 2), 4));
  std::size_t steps = 0;
  while (seen[longest].tokens.empty() && seen[talking].reason == finish_reason::none) {
    const auto before = seen[talking].tokens.size();
    step(*e, seen);
    CHECK(seen[talking].tokens.size() > before);  // one in every step
    ++steps;
  }
  CHECK(steps >= 1500 / forward_rows_max);
}

TEST_CASE("what several prompts begin with is computed once") {
  const loaded on(tiny);
  const auto e = on.make({.running_max = 16});
  const auto common = prompt_of(640, 3);
  for (std::uint64_t i = 0; i < 8; ++i) {
    auto prompt = common;
    prompt.push_back(static_cast<token_id>(i));
    add(*e, ask(std::move(prompt), 2));
  }
  run(*e);
  CHECK(e->load().prompt_tokens == 640 + 8);
  CHECK(e->load().shared_tokens == 7 * 640);
  // And later, as long as there is room for it; until somebody asks for the memory.
  add(*e, ask(common, 1));
  run(*e);
  CHECK(
      e->load().prompt_tokens ==
      640 + 8 + 64);  // the last page: its last token's logits are wanted
  e->trim();
  add(*e, ask(common, 1));
  run(*e);
  CHECK(e->load().prompt_tokens == 640 + 8 + 64 + 640);
}

TEST_CASE("a conversation goes on where it stood") {
  const auto type = GENERATE(element::f16, element::q8_0);
  INFO("cache of type " << static_cast<int>(type));
  const loaded on(whole_blocks);
  const auto e = on.make({.cache_type = type});
  auto text = prompt_of(130, 4);
  const auto who = add(*e, ask(text, 70));
  const auto said = run(*e)[who].tokens;
  text.insert(text.end(), said.begin(), said.end());
  text.push_back(5);
  const auto before = e->load().prompt_tokens;
  const auto next = add(*e, ask(text, 3));
  const auto answered = run(*e)[next];
  CHECK(e->load().prompt_tokens - before == 201 - 192);
  CHECK(answered == test::answer_alone(on, ask(text, 3), type));
}

TEST_CASE("one owner's many prompts don't keep another's waiting") {
  const loaded on(tiny);
  const auto e = on.make({.running_max = 2});
  engine_answers seen;
  std::vector<engine::sequence_id> crowd;
  for (std::uint64_t i = 0; i < 12; ++i)
    crowd.push_back(add(*e, ask(prompt_of(40, i), 10), "crowd"));
  step(*e, seen);
  const auto single = add(*e, ask(prompt_of(40, 99), 10), "single");
  while (seen[single].reason == finish_reason::none) step(*e, seen);
  const auto done = std::ranges::count_if(
      crowd, [&](auto who) { return seen[who].reason != finish_reason::none; });
  CHECK(done <= 3);
  // Who comes back after a while has no credit from it: it takes turns.
  run(*e);
  std::vector<engine::sequence_id> a, b;
  for (std::uint64_t i = 0; i < 6; ++i) a.push_back(add(*e, ask(prompt_of(40, i), 10), "crowd"));
  for (std::uint64_t i = 0; i < 6; ++i) b.push_back(add(*e, ask(prompt_of(40, 50 + i), 10), "new"));
  seen.clear();
  std::size_t first_a = 0, first_b = 0, steps = 0;
  while (!e->idle()) {
    step(*e, seen);
    ++steps;
    if (!first_a && seen.contains(a[2])) first_a = steps;
    if (!first_b && seen.contains(b[2])) first_b = steps;
  }
  CHECK(std::max(first_a, first_b) - std::min(first_a, first_b) <= 25);
}

TEST_CASE("a full queue refuses early and says when to try again") {
  const loaded on(tiny);
  const auto e = on.make({.running_max = 1, .waiting_max = 3});
  for (int i = 0; i < 3; ++i) add(*e, ask(prompt_of(40, 1), 10));
  auto refused = e->add(e->begin(ask(prompt_of(40, 1), 10)).value(), "a");
  REQUIRE(refused.has_error());
  CHECK(refused.error().code == errc::resource_exhausted);
  CHECK(refused.error().hint.find("try again in about") != std::string::npos);
  CHECK(refused.error().retry_after_s > 0);
  engine_answers seen;
  step(*e, seen);  // one has begun
  CHECK(e->add(e->begin(ask(prompt_of(40, 1), 10)).value(), "a"));
  CHECK(e->backlog().count() > 0);

  const auto by_tokens = on.make({.running_max = 1, .waiting_tokens_max = 100});
  add(*by_tokens, ask(prompt_of(200, 1), 10));  // alone it may wait
  refused = by_tokens->add(by_tokens->begin(ask(prompt_of(40, 1), 10)).value(), "a");
  REQUIRE(refused.has_error());
  CHECK(refused.error().code == errc::resource_exhausted);
}

TEST_CASE("what can never fit is refused with both numbers, what need not end is cut") {
  const loaded on(tiny);
  const auto e = on.make({}, 3);
  const auto refused = e->add(e->begin(ask(prompt_of(100, 1), 93)).value(), "a");
  REQUIRE(refused.has_error());
  CHECK(refused.error().code == errc::too_long);
  CHECK(refused.error().message.find("193") != std::string::npos);
  CHECK(refused.error().message.find("192") != std::string::npos);
  auto open_end = ask(prompt_of(100, 1), 1);
  open_end.max_tokens.reset();
  const auto who = add(*e, open_end);
  CHECK(run(*e)[who].tokens.size() == 92);
  const auto none = engine::make(on.weights, on.vocabulary, {.cache_bytes = 2048});
  CHECK(none.error().code == errc::failed_precondition);  // trying again does not help
  CHECK_THAT(
      none.error().message, Catch::Contains("2 KiB") && Catch::Contains("64 tokens of this model"));
}

TEST_CASE("a cache of 8 bits takes half the memory, and whole blocks of a head") {
  const loaded whole(whole_blocks), part(tiny);
  const auto pages = [&](std::optional<element> type) {
    const auto e =
        engine::make(whole.weights, whole.vocabulary, {.cache_bytes = 1 << 20, .cache_type = type});
    return e.value()->load().pages;
  };
  CHECK(pages({}) == pages(element::f16));
  CHECK(pages(element::q8_0) == pages(element::f16) * 64 / 34);
  CHECK(pages(element::f32) == pages(element::f16) / 2);
  for (const auto type : {element::q8_0, element::q4_0}) {
    const auto refused = engine::make(part.weights, part.vocabulary, {.cache_type = type});
    CHECK(refused.error().code == errc::unsupported);
    const auto alone = generation::start(part.weights, part.vocabulary, ask({1}, 1), type);
    CHECK(alone.error().code == errc::unsupported);
  }
}

TEST_CASE("a cancelled sequence is gone before the next step, in whatever phase") {
  const loaded on(tiny);
  const auto e = on.make({.running_max = 1});
  engine_answers seen;
  const auto in_prompt = add(*e, ask(prompt_of(500, 1), 50));
  const auto waiting = add(*e, ask(prompt_of(30, 2), 5));
  const auto last = add(*e, ask(prompt_of(30, 3), 5));
  step(*e, seen);
  CHECK(e->load().running == 1);
  e->cancel(in_prompt);
  e->cancel(waiting);
  CHECK(e->load().running == 0);
  CHECK(e->load().pages_free == e->load().pages);
  step(*e, seen);
  CHECK(seen[last].tokens.size() == 1);  // its turn came at once
  e->cancel(last);
  CHECK(e->idle());
  CHECK(step(*e, seen) == 0);
  e->cancel(last);
  CHECK_FALSE(seen.contains(waiting));
  CHECK(seen[last].tokens.size() == 1);
}

}  // namespace
}  // namespace dlls::model

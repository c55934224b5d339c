// Embeddings: each is what a direct pass over its tokens gives, whatever the engine does beside it.
#include "model/embedding.hpp"

#include <catch2/catch.hpp>
#include <cmath>
#include <numeric>
#include <optional>

#include "tests/model/engine_fixture.hpp"
#include "tests/support/plain_llama.hpp"

namespace dlls::model {
namespace {
using base::errc;
using namespace test;

embedding_request embed(std::vector<token_id> tokens, std::optional<pooling> how) {
  return {std::move(tokens), how};
}

// Straight from the forward pass, `piece` tokens at a time.
std::vector<float> embedded_alone(
    const llama& model, std::span<const token_id> tokens, pooling how,
    std::size_t piece = forward_rows_max) {
  kernels::thread_pool pool(1);
  const std::size_t dim = model.config().dim;
  kv_cache cache(model.config(), static_cast<std::uint32_t>(tokens.size()), model.kv_type());
  std::vector<double> sum(dim);
  std::vector<float> row(dim);
  for (std::size_t at = 0; at < tokens.size(); at += piece) {
    const auto n = std::min(piece, tokens.size() - at);
    std::vector<float> hidden(n * dim);
    const forward_part part[] = {{&cache, tokens.subspan(at, n), rows_kept::all, hidden}};
    forward(model, cache.scratch(), part, {}, pool);
    for (std::size_t i = 0; i < hidden.size(); ++i) sum[i % dim] += double{hidden[i]};
    row.assign(hidden.end() - static_cast<std::ptrdiff_t>(dim), hidden.end());
  }
  if (how == pooling::last) return row;
  for (std::size_t i = 0; i < dim; ++i)
    row[i] = static_cast<float>(sum[i] / static_cast<double>(tokens.size()));
  return row;
}

double length(std::span<const float> v) {
  return std::sqrt(std::inner_product(v.begin(), v.end(), v.begin(), 0.0));
}

constexpr pooling both[] = {pooling::mean, pooling::last};

}  // namespace

TEST_CASE("an embedding is pooled from the architecture's own hidden states") {
  const temp_folder folder;
  REQUIRE(write_tiny_model(folder / "m.gguf", {.dim = 64, .heads = 4, .kv_heads = 2}));
  const auto file = gguf_file::open(folder / "m.gguf").value();
  const auto weights = llama::load(file, activations::f32).value();
  const auto vocabulary = std::shared_ptr<const tokenizer>(tokenizer::from(*file).value());
  const auto tokens = prompt_of(70, 1);
  const auto hidden = plain_llama(*file).hidden(tokens);
  const auto e = engine::make(weights, vocabulary, {}).value();
  const auto mean = add(*e, embed(tokens, pooling::mean));
  const auto last = add(*e, embed(tokens, pooling::last));
  const auto seen = run(*e);
  for (std::size_t i = 0; i < 64; ++i) {
    double sum = 0;
    for (const auto& row : hidden) sum += row[i];
    CHECK(seen.at(mean).embedding[i] == Approx(sum / 70).margin(2e-4));
    CHECK(seen.at(last).embedding[i] == Approx(hidden.back()[i]).margin(2e-4));
  }
}

TEST_CASE("an embedding is the same to the bit in whatever pieces it is computed") {
  const loaded on(tiny);
  for (const std::size_t size : {1, 2, 63, 64, 65, 128, 129, 300})
    for (const auto how : both) {
      INFO(size << " tokens");
      const auto tokens = prompt_of(size, size);
      const auto expected = embedded_alone(*on.weights, tokens, how);
      CHECK(embedded_alone(*on.weights, tokens, how, 7) == expected);
      const auto e = on.make({});
      const auto who = add(*e, embed(tokens, how));
      const auto seen = run(*e);
      CHECK(seen.at(who).embedding == expected);
      CHECK(seen.at(who).reason == finish_reason::stop);
      CHECK(seen.at(who).tokens.empty());
      CHECK(e->load().prompt_tokens == size);
      CHECK(e->load().answer_tokens == 0);
      CHECK(e->load().pages_free == e->load().pages);
    }
}

TEST_CASE("answers and embeddings made together are those made alone") {
  const loaded on(tiny);
  const auto seed = std::random_device{}();
  INFO("seed " << seed);
  base::random_source random(seed);
  std::uint64_t preemptions = 0, shared = 0;
  for (const std::uint32_t pages : {40, 14}) {
    INFO("pages " << pages);
    const auto e = on.make({.running_max = 6, .waiting_max = 100}, pages);
    std::map<engine::sequence_id, embedding_request> embedded;
    std::map<engine::sequence_id, generation_request> asked;
    engine_answers seen;
    for (int to_come = 30; to_come > 0 || !e->idle();) {
      if (to_come > 0 && (e->idle() || random.below(3) == 0)) {
        --to_come;
        auto tokens = prompt_of(random.below(2) ? 150 : 0, 7);  // some begin alike
        const auto own = prompt_of(1 + random.below(400), random());
        tokens.insert(tokens.end(), own.begin(), own.end());
        const std::string owner = random.below(2) ? "a" : "b";
        if (random.below(3) == 0) {
          const auto request =
              ask(std::move(tokens), 1 + static_cast<std::uint32_t>(random.below(120)));
          asked.emplace(add(*e, request, owner), request);
        } else {
          const auto request = embed(std::move(tokens), both[random.below(2)]);
          embedded.emplace(add(*e, request, owner), request);
        }
      }
      if (random.below(30) == 0 && !embedded.empty()) {
        const auto who = embedded.rbegin()->first;
        e->cancel(who);
        if (!seen.contains(who)) embedded.erase(who);
      }
      step(*e, seen);
    }
    CHECK(seen.size() == embedded.size() + asked.size());
    for (const auto& [who, request] : embedded)
      CHECK(seen[who].embedding == embedded_alone(*on.weights, request.tokens, *request.how));
    for (const auto& [who, request] : asked) CHECK(seen[who] == answer_alone(on, request));
    CHECK(e->load().pages_free == e->load().pages);
    preemptions += e->load().preemptions;
    shared += e->load().shared_tokens;
  }
  CHECK(preemptions > 0);  // otherwise the test shows less than it says
  CHECK(shared > 0);
}

TEST_CASE("a mean that had to give way halfway begins anew") {
  const loaded on(tiny);
  // Room for one of the two; each takes in 128 tokens before the first needs the rest.
  const auto e = on.make({}, 4);
  const auto one = prompt_of(190, 1), other = prompt_of(190, 2);
  const auto first = add(*e, embed(one, pooling::mean), "a");
  const auto second = add(*e, embed(other, pooling::mean), "b");
  engine_answers seen;
  step(*e, seen);
  step(*e, seen);
  CHECK(e->load().prompt_tokens == 256);
  step(*e, seen);
  CHECK(e->load().preemptions == 1);
  while (!e->idle()) step(*e, seen);
  CHECK(e->load().prompt_tokens == 190 + 128 + 190);
  CHECK(seen[first].embedding == embedded_alone(*on.weights, one, pooling::mean));
  CHECK(seen[second].embedding == embedded_alone(*on.weights, other, pooling::mean));
}

TEST_CASE("a mean computes every token and leaves its pages to others") {
  const loaded on(tiny);
  const auto e = on.make({});
  const auto text = prompt_of(200, 1);
  const auto computed = [&](const auto& request) {
    const auto before = e->load().prompt_tokens;
    add(*e, request);
    run(*e);
    return e->load().prompt_tokens - before;
  };
  CHECK(computed(embed(text, pooling::mean)) == 200);
  CHECK(computed(embed(text, pooling::mean)) == 200);
  CHECK(computed(embed(text, pooling::last)) == 8);
  CHECK(computed(ask(text, 1)) == 8);
  // A text of whole pages leaves the last one, too.
  const auto even = prompt_of(128, 2);
  auto longer = even;
  longer.push_back(1);
  CHECK(computed(embed(even, pooling::last)) == 128);
  CHECK(computed(embed(longer, pooling::last)) == 1);
  // The last token is always computed.
  CHECK(computed(embed(even, pooling::last)) == 64);
  // Two means of one text don't wait for each other.
  engine_answers seen;
  for (int i = 0; i < 2; ++i) add(*e, embed(prompt_of(64, 3), pooling::mean));
  step(*e, seen);
  CHECK(seen.size() == 2);
}

TEST_CASE("a long text to embed does not keep running answers waiting") {
  const loaded on(tiny);
  const auto e = on.make({.running_max = 4});
  engine_answers seen;
  const auto request = ask(prompt_of(5, 1), 60);
  const auto talking = add(*e, request);
  step(*e, seen);
  const auto text = prompt_of(1500, 2);
  const auto longest = add(*e, embed(text, pooling::mean));
  while (!seen.contains(longest) && seen[talking].reason == finish_reason::none) {
    const auto before = seen[talking].tokens.size();
    step(*e, seen);
    CHECK(seen[talking].tokens.size() > before);  // one in every step
  }
  while (!e->idle()) step(*e, seen);
  CHECK(seen[talking] == answer_alone(on, request));
  CHECK(seen[longest].embedding == embedded_alone(*on.weights, text, pooling::mean));
}

TEST_CASE("one owner's many texts don't keep another's waiting") {
  const loaded on(tiny);
  const auto e = on.make({.running_max = 2});
  engine_answers seen;
  std::vector<engine::sequence_id> crowd;
  for (std::uint64_t i = 0; i < 12; ++i)
    crowd.push_back(add(*e, embed(prompt_of(128, i), pooling::mean), "crowd"));
  step(*e, seen);
  const auto single = add(*e, embed(prompt_of(128, 99), pooling::mean), "single");
  while (!seen.contains(single)) step(*e, seen);
  CHECK(seen.size() <= 4);
}

TEST_CASE("a cancelled embedding is gone before the next step, in whatever phase") {
  const loaded on(tiny);
  const auto e = on.make({.running_max = 1});
  engine_answers seen;
  const auto halfway = add(*e, embed(prompt_of(500, 1), pooling::mean));
  const auto waiting = add(*e, embed(prompt_of(30, 2), pooling::last));
  const auto text = prompt_of(30, 3);
  const auto last = add(*e, embed(text, pooling::mean));
  step(*e, seen);
  CHECK(e->load().running == 1);
  CHECK(e->load().prompt_tokens > 0);
  e->cancel(halfway);
  e->cancel(waiting);
  CHECK(e->load().running == 0);
  CHECK(e->load().pages_free == e->load().pages);
  step(*e, seen);
  CHECK(e->idle());
  CHECK(seen.size() == 1);
  CHECK(seen[last].embedding == embedded_alone(*on.weights, text, pooling::mean));
}

TEST_CASE("what cannot be embedded is refused, with the numbers") {
  const loaded on(tiny);
  const auto e = on.make({.running_max = 1, .waiting_max = 2}, 3);
  const auto refused = [&](std::vector<token_id> tokens, errc code = errc::invalid_argument) {
    const auto made = e->begin(embed(std::move(tokens), pooling::mean));
    REQUIRE(made.has_error());
    CHECK(made.error().code == code);
    return made.error().message;
  };
  CHECK(refused({}) == "the input is empty");
  CHECK(refused({5, -1}).find("token -1 is outside") != std::string::npos);
  const auto vocab = on.weights->config().vocab;
  CHECK(refused({static_cast<token_id>(vocab)}).find(std::to_string(vocab)) != std::string::npos);
  const auto too_long = refused(prompt_of(2049, 1), errc::too_long);
  CHECK(too_long.find("2049") != std::string::npos);
  CHECK(too_long.find("2048") != std::string::npos);
  CHECK(e->begin(embed(prompt_of(2048, 1), pooling::mean)));

  const auto never = e->add(e->begin(embed(prompt_of(193, 1), pooling::mean)).value(), "a");
  REQUIRE(never.has_error());
  CHECK(never.error().code == errc::too_long);
  CHECK(never.error().message == "the input takes 193 tokens, the memory for this model holds 192");
  const auto whole = prompt_of(192, 1);
  const auto who = add(*e, embed(whole, pooling::mean));
  add(*e, embed(whole, pooling::last));
  const auto crowded = e->add(e->begin(embed(prompt_of(1, 1), pooling::mean)).value(), "a");
  REQUIRE(crowded.has_error());
  CHECK(crowded.error().code == errc::resource_exhausted);
  CHECK(crowded.error().hint.find("try again in about") != std::string::npos);
  CHECK(run(*e)[who].embedding == embedded_alone(*on.weights, whole, pooling::mean));
}

TEST_CASE("the model file says how to pool where the request does not") {
  const loaded on(tiny);
  auto config = on.weights->config();
  const auto how = [&](std::optional<pooling> asked) {
    const auto made = embedding::begin(config, embed({1, 2}, asked));
    return made ? std::optional{made->how()} : std::nullopt;
  };
  CHECK(how({}) == pooling::mean);
  CHECK(how(pooling::last) == pooling::last);
  config.pooled = pooling::last;
  CHECK(how({}) == pooling::last);
  CHECK(how(pooling::mean) == pooling::mean);
  config.pooled = std::nullopt;
  CHECK(how(pooling::mean) == pooling::mean);
  CHECK(embedding::begin(config, embed({1}, {})).error().code == errc::unsupported);
}

TEST_CASE("an embedding has length 1 where it is wanted so, cut or whole") {
  const loaded on(tiny);
  const auto v = embedded_alone(*on.weights, prompt_of(20, 1), pooling::mean);
  const auto unit = unit_vector(v);
  REQUIRE(unit.size() == v.size());
  CHECK(length(v) != Approx(1).margin(1e-3));
  CHECK(length(unit) == Approx(1).margin(1e-6));
  CHECK(std::inner_product(v.begin(), v.end(), unit.begin(), 0.0) == Approx(length(v)));
  const auto cut = shortened(v, 10).value();
  REQUIRE(cut.size() == 10);
  CHECK(length(cut) == Approx(1).margin(1e-6));
  for (std::size_t i = 0; i < 10; ++i) CHECK(cut[i] * v[0] == Approx(v[i] * cut[0]).margin(1e-6));
  CHECK(shortened(v, v.size()).value() == unit);
  for (const std::size_t n : {std::size_t{0}, v.size() + 1}) {
    const auto refused = shortened(v, n);
    REQUIRE(refused.has_error());
    CHECK(refused.error().code == errc::invalid_argument);
    CHECK(refused.error().message.find(std::to_string(v.size())) != std::string::npos);
  }
  CHECK(unit_vector(std::vector<float>(3)) == std::vector<float>(3));
}

}  // namespace dlls::model

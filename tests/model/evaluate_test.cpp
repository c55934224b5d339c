#include "model/evaluate.hpp"

#include <catch2/catch.hpp>
#include <cmath>

#include "kernels/parallel.hpp"
#include "model/kv_cache.hpp"
#include "model/llama.hpp"
#include "tests/support/temp_folder.hpp"
#include "tests/support/tiny_model.hpp"

namespace dlls::model {
namespace {
using base::errc;

struct loaded {
  std::shared_ptr<const llama> weights;
  std::shared_ptr<const tokenizer> vocabulary;
  kernels::thread_pool pool{1};

  explicit loaded(bool add_bos = false) {
    test::temp_folder folder;
    REQUIRE(test::write_tiny_model(folder / "m.gguf"));
    const auto file = gguf_file::open(folder / "m.gguf").value();
    weights = llama::load(file, activations::f32).value();
    gguf_writer out;
    out.copy_metadata(*file);
    out.set_bool("tokenizer.ggml.add_bos_token", add_bos);
    REQUIRE(out.write(folder / "v.gguf"));
    vocabulary = tokenizer::from(*gguf_file::open(folder / "v.gguf").value()).value();
  }
  // -log p(token | before), with a cache of its own.
  double nll(std::span<const token_id> before, token_id token) {
    std::vector<float> logits(weights->config().vocab);
    kv_cache cache{weights->config(), 64, weights->kv_type()};
    forward(*weights, cache, before, logits, pool);
    return -logprob_of(logits, token);
  }
};
}  // namespace

TEST_CASE("perplexity scores the second half of each whole window, from all before it") {
  for (const bool add_bos : {false, true}) {
    loaded on{add_bos};
    const std::string text = "the user is in the hall and the hello is all on the list again";
    const auto ids = on.vocabulary->encode_prompt(text, false);
    constexpr std::uint32_t context = 10;
    REQUIRE(ids.size() > 2 * context);
    REQUIRE(ids.size() % context != 0);
    double sum = 0;
    std::uint64_t count = 0;
    for (std::size_t start = 0; start + context <= ids.size(); start += context) {
      std::vector<token_id> window{ids.begin() + start, ids.begin() + start + context};
      if (add_bos) window[0] = on.vocabulary->bos();
      for (std::size_t i = context / 2 + 1; i < context; ++i, ++count)
        sum += on.nll(std::span{window}.first(i), window[i]);
    }
    const auto report = perplexity(*on.weights, *on.vocabulary, text, context, on.pool).value();
    CHECK(report.windows == ids.size() / context);
    CHECK(report.tokens_scored == count);
    CHECK(report.mean_nll == Approx(sum / static_cast<double>(count)).epsilon(1e-5));
    CHECK(report.perplexity == Approx(std::exp(report.mean_nll)));
  }
}

TEST_CASE("an evaluation tells how far it is and stops when asked") {
  loaded on;
  const std::string text(60, 'q');
  std::vector<float> seen;
  const auto whole = perplexity(*on.weights, *on.vocabulary, text, 20, on.pool, [&](float done) {
    seen.push_back(done);
    return true;
  });
  CHECK(whole.has_value());
  CHECK(seen.size() == 3);
  CHECK(seen.back() == 1);
  const auto stopped =
      perplexity(*on.weights, *on.vocabulary, text, 20, on.pool, [](float) { return false; });
  CHECK(stopped.error().code == errc::cancelled);
}

TEST_CASE("an evaluation that makes no sense is refused") {
  loaded on;
  auto refusal = [&](std::string_view text, std::uint32_t context) {
    return perplexity(*on.weights, *on.vocabulary, text, context, on.pool).error().code;
  };
  CHECK(refusal("the user", 64) == errc::invalid_argument);
  CHECK(refusal("the user", 3) == errc::invalid_argument);
  CHECK(refusal("the user", 5000) == errc::invalid_argument);
}

TEST_CASE("the next tokens are the likeliest by the model's logits") {
  loaded on;
  const auto prompt = on.vocabulary->encode("the user", false);
  const auto next = next_tokens(*on.weights, prompt, 5, on.pool).value();
  REQUIRE(next.size() == 5);
  for (std::size_t i = 0; i < 5; ++i) {
    CHECK(next[i].logprob == Approx(-on.nll(prompt, next[i].token)).margin(1e-5));
    if (i > 0) CHECK(next[i].logit <= next[i - 1].logit);
  }
  CHECK(next_tokens(*on.weights, {}, 5, on.pool).error().code == errc::invalid_argument);
  const std::vector<token_id> outside{9999}, long_one(500, 70);
  CHECK(next_tokens(*on.weights, outside, 5, on.pool).error().code == errc::invalid_argument);
  CHECK(next_tokens(*on.weights, long_one, 5, on.pool).error().code == errc::invalid_argument);
}

}  // namespace dlls::model

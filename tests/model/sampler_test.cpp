#include "model/sampler.hpp"

#include <catch2/catch.hpp>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <set>

namespace dlls::model {
namespace {
constexpr float nan = std::numeric_limits<float>::quiet_NaN();
constexpr float infinity = std::numeric_limits<float>::infinity();

token_id pick(const sampling& how, std::vector<float> logits, std::vector<token_id> history = {}) {
  return sampler{how}.pick(logits, history);
}
// Which tokens 2000 draws give, and how often.
std::map<token_id, int> draws(sampling how, const std::vector<float>& logits) {
  how.seed = 1;
  sampler s{how};
  std::map<token_id, int> counts;
  for (int i = 0; i < 2000; ++i) {
    auto row = logits;
    ++counts[s.pick(row, {})];
  }
  return counts;
}
std::set<token_id> drawn(const sampling& how, const std::vector<float>& logits) {
  std::set<token_id> tokens;
  for (const auto& [token, count] : draws(how, logits)) tokens.insert(token);
  return tokens;
}
// Probabilities 0.4, 0.3, 0.2, 0.1 for tokens 3, 2, 1, 0.
const std::vector<float> tenths{std::log(0.1f), std::log(0.2f), std::log(0.3f), std::log(0.4f)};
using tokens = std::set<token_id>;
}  // namespace

TEST_CASE("temperature 0 takes the largest logit, the smaller id of equals") {
  sampling greedy;
  greedy.temperature = 0;
  CHECK(pick(greedy, {0, 3, 1, 3}) == 1);
  CHECK(pick(greedy, {nan, -5, nan}) == 1);
  CHECK(pick(greedy, {nan, nan}) == 0);
  CHECK(pick(greedy, {-infinity, -infinity, -1}) == 2);
}

TEST_CASE("draws follow the model's own distribution") {
  const auto counts = draws({}, tenths);
  // Standard deviations are 13 to 22; five of them.
  CHECK(std::abs(counts.at(0) - 200) < 70);
  CHECK(std::abs(counts.at(1) - 400) < 90);
  CHECK(std::abs(counts.at(2) - 600) < 105);
  CHECK(std::abs(counts.at(3) - 800) < 110);
  sampling hot, cold;
  hot.temperature = 10;
  cold.temperature = 0.01f;
  CHECK(draws(hot, tenths).at(0) > 300);
  CHECK(drawn(cold, tenths) == tokens{3});
}

TEST_CASE("the filters keep the likeliest and no more") {
  sampling how;
  how.top_k = 2;
  CHECK(drawn(how, tenths) == tokens{2, 3});
  how = {};
  how.top_p = 0.65f;
  CHECK(drawn(how, tenths) == tokens{2, 3});
  how.top_p = 0.75f;
  CHECK(drawn(how, tenths) == tokens{1, 2, 3});
  how.top_p = 1e-6f;
  CHECK(drawn(how, tenths) == tokens{3});
  how = {};
  how.min_p = 0.6f;  // 0.24 and more
  CHECK(drawn(how, tenths) == tokens{2, 3});
  how.top_k = 1;
  CHECK(drawn(how, tenths) == tokens{3});
}

TEST_CASE("top_p over a large vocabulary keeps the same tokens as sorting it all") {
  base::random_source random{7};
  std::vector<float> logits(5000);
  for (auto& l : logits) l = static_cast<float>(random.uniform());
  std::vector<float> sorted = logits;
  std::ranges::sort(sorted, std::greater<>{});
  const double total = std::accumulate(
      sorted.begin(), sorted.end(), 0.0, [](double sum, float l) { return sum + std::exp(l); });
  double sum = 0;
  std::size_t kept = 0;
  while (sum < 0.5 * total) sum += std::exp(sorted[kept++]);
  sampling how;
  how.top_p = 0.5f;
  for (const auto token : drawn(how, logits)) CHECK(logits[token] >= sorted[kept]);
}

TEST_CASE("penalties and biases move the tokens they name") {
  sampling how;
  how.temperature = 0;
  how.logit_bias = {{0, 5.0f}, {99, 100.0f}, {-1, 100.0f}};
  CHECK(pick(how, {1, 4}) == 0);
  how.logit_bias = {{1, -100.0f}};
  CHECK(pick(how, {1, 4}) == 0);

  how = {};
  how.temperature = 0;
  how.presence_penalty = 1;
  CHECK(pick(how, {3.5f, 4}, {1, 1, 1}) == 0);
  CHECK(pick(how, {2.5f, 4}, {1, 1, 1}) == 1);  // once, however often it was seen
  how = {};
  how.temperature = 0;
  how.frequency_penalty = 1;
  CHECK(pick(how, {2.5f, 4}, {1}) == 1);
  CHECK(pick(how, {2.5f, 4}, {1, 1}) == 0);
  how = {};
  how.temperature = 0;
  how.repetition_penalty = 2;
  CHECK(pick(how, {3, 4}, {1}) == 0);
  CHECK(pick(how, {-3, -2}, {1}) == 0);  // a negative logit is multiplied
  CHECK(pick(how, {3, 4}, {-7, 500}) == 1);
}

TEST_CASE("the same seed draws the same tokens, another seed others") {
  const std::vector<float> flat(1000, 0.0f);
  auto sequence = [&](std::uint64_t seed) {
    sampling how;
    how.seed = seed;
    sampler s{how};
    std::vector<token_id> made;
    for (int i = 0; i < 20; ++i) {
      auto row = flat;
      made.push_back(s.pick(row, {}));
    }
    return made;
  };
  CHECK(sequence(1) == sequence(1));
  CHECK(sequence(1) != sequence(2));
}

TEST_CASE("logits that are no numbers are never drawn") {
  const std::vector<float> row{nan, 1, -infinity, 2, nan};
  for (const float top_p : {1.0f, 0.99f}) {
    sampling how;
    how.top_p = top_p;
    CHECK(drawn(how, row) == tokens{1, 3});
  }
  CHECK(pick({}, {nan, nan}) == 0);
  CHECK(pick({}, {1, infinity, 2}) == 1);
}

TEST_CASE("settings out of range are refused by name") {
  auto refusal = [](auto set) {
    sampling how;
    set(how);
    const auto checked = how.valid();
    return checked ? std::string{}
                   : checked.error().message.substr(0, checked.error().message.find(' '));
  };
  CHECK(refusal([](sampling&) {}).empty());
  CHECK(refusal([](sampling& s) { s.temperature = -1; }) == "temperature");
  CHECK(refusal([](sampling& s) { s.temperature = nan; }) == "temperature");
  CHECK(refusal([](sampling& s) { s.top_p = 0; }) == "top_p");
  CHECK(refusal([](sampling& s) { s.top_p = 1.1f; }) == "top_p");
  CHECK(refusal([](sampling& s) { s.min_p = nan; }) == "min_p");
  CHECK(refusal([](sampling& s) { s.top_k = -1; }) == "top_k");
  CHECK(refusal([](sampling& s) { s.repetition_penalty = 0; }) == "repetition_penalty");
  CHECK(refusal([](sampling& s) { s.frequency_penalty = 3; }) == "frequency_penalty");
  CHECK(refusal([](sampling& s) { s.presence_penalty = nan; }) == "presence_penalty");
  CHECK(refusal([](sampling& s) { s.logit_bias = {{0, infinity}}; }) == "logit_bias");
}

TEST_CASE("log-probabilities are the row's log softmax, the likeliest first") {
  CHECK(log_sum_exp(tenths) == Approx(0).margin(1e-6));
  CHECK(log_sum_exp(std::vector<float>{1000, 1000}) == Approx(1000 + std::log(2.0)));
  CHECK(logprob_of(tenths, 3) == Approx(std::log(0.4)));
  const auto top = top_logprobs(tenths, 2);
  REQUIRE(top.size() == 2);
  CHECK(top[0].token == 3);
  CHECK(top[1].token == 2);
  CHECK(top[1].logprob == Approx(std::log(0.3)));
  CHECK(top_logprobs(tenths, 99).size() == 4);
  CHECK(top_logprobs(tenths, 0).empty());
  const auto ties = top_logprobs(std::vector<float>{1, nan, 2, 2, 1, 2}, 4);
  std::vector<token_id> order;
  for (const auto& t : ties) order.push_back(t.token);
  CHECK(order == std::vector<token_id>{2, 3, 5, 0});
}

}  // namespace dlls::model

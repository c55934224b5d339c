// Prompts from the coordinator's side to the node's model and back, over links that end.
#include <catch2/catch.hpp>
#include <fstream>
#include <numeric>

#include "actors/cloud_backend.hpp"
#include "gateway/generation.hpp"
#include "tests/actors/protocol_world.hpp"
#include "tests/support/catch_result.hpp"
#include "tests/support/tiny_model.hpp"

using namespace dlls;
using namespace dlls::tests;
using namespace std::chrono_literals;
using base::errc;

namespace {

// What a client has heard of its prompt.
struct ear final : gateway::generation_sink {
  std::string text;
  std::vector<gateway::tool_call> calls;
  std::size_t pieces = 0, logprobs = 0;
  std::string reason;
  std::optional<base::error> why;
  void delta(gateway::token_delta piece) override {
    text += piece.text;
    ++pieces, logprobs += piece.logprobs.size();
    calls.insert(calls.end(), piece.calls.begin(), piece.calls.end());
  }
  void done(gateway::generate_done end) override { reason = end.finish_reason; }
  void failed(base::error e) override { why = std::move(e); }
  bool silent() const { return reason.empty() && !why; }
};

// In the coordinator's place: writes down the numbers of what it is asked. A class, since CAF's
// spawn of a function without arguments binds a null reference, which UBSan reports.
class listener final : public caf::event_based_actor {
 public:
  listener(caf::actor_config& config, std::vector<std::uint64_t>* seen)
      : event_based_actor(config), seen_(seen) {}
  caf::behavior make_behavior() override {
    return {
        [this](const struct actors::start_generation& order) { seen_->push_back(order.request); }};
  }

 private:
  std::vector<std::uint64_t>* seen_;
};

constexpr std::uint32_t tokens_asked = 24;

std::shared_ptr<ear> ask(
    world& w, std::uint64_t request, actors::generation_spec spec, bool stream = true) {
  auto listening = std::make_shared<ear>();
  struct actors::start_generation order;  // not the function that starts a job of that kind
  order.request = request;
  order.spec = std::move(spec);
  order.spec.seed = 7;
  order.stream = stream;
  order.sink = listening;
  caf::anon_send(w.cloud(), order);
  w.settle();
  return listening;
}

std::shared_ptr<ear> ask(
    world& w, std::uint64_t request, std::string prompt, std::string schema = "",
    std::string model = "tiny") {
  actors::generation_spec spec;
  spec.model = std::move(model);
  spec.prompt = std::move(prompt);
  spec.tokens_max = tokens_asked;
  spec.schema = std::move(schema);
  return ask(w, request, std::move(spec));
}

// What comes of it, once it has.
class asked_vectors {
 public:
  void operator()(base::result<gateway::embedding_list> got) { got_ = std::move(got); }
  bool has_value() const { return got_.has_value(); }
  const gateway::embedding_list& value() const { return got_.value().value(); }
  base::error error() const { return got_.value().error(); }

 private:
  std::optional<base::result<gateway::embedding_list>> got_;
};

std::shared_ptr<asked_vectors> embed(
    world& w, std::uint64_t request, std::vector<std::string> texts, std::uint32_t dimensions,
    std::string model = "tiny") {
  auto listening = std::make_shared<asked_vectors>();
  actors::start_embedding order;
  order.request = request;
  order.texts.model = std::move(model);
  order.texts.texts = std::move(texts);
  order.texts.dimensions = dimensions;
  order.done = [listening](auto got) { (*listening)(std::move(got)); };
  caf::anon_send(w.cloud(), order);
  w.settle();
  return listening;
}

// A node with a model to answer by.
node_process& add_answering_node(world& w, const test::tiny_model_options& model = {}) {
  auto& home = w.add_node("home");
  REQUIRE(test::write_tiny_model(home.services.models->folder() / "tiny.gguf", model));
  w.cut(home, 0ms);  // its next hello tells of the model
  REQUIRE(w.until([&] { return w.passed("hello answered") == 2; }));
  return home;
}

void restart_coordinator(world& w) {
  const auto before = w.passed("hello answered");
  w.stop_coordinator();
  w.start_coordinator();
  REQUIRE(w.until([&] { return w.passed("hello answered") > before; }));
}

// With the options that it has by now.
void restart(world& w, node_process& home) {
  const auto before = w.passed("hello answered");
  w.stop_node(home);
  w.start_node(home);
  REQUIRE(w.until([&] { return w.passed("hello answered") > before; }));
}

void let_through(world& w, node_process& home) {
  home.answering_gate->let_through();
  w.settle();
}

}  // namespace

TEST_CASE("the end of a link ends the generations that came over it") {
  world w{seed_or(21)};
  auto& home = add_answering_node(w);
  home.answering_gate = std::make_unique<turnstile>(*home.services.answering);
  const auto first = ask(w, 1, "hello"), second = ask(w, 2, "hello");
  CHECK(home.services.answering->queued() == 1);  // one step for both
  w.cut(home, 0ms);
  w.settle();
  CHECK(first->why.value().code == errc::unavailable);
  let_through(w, home);
  CHECK(home.services.answering->queued() == 0);  // no further step
}

TEST_CASE("a schema crosses the link, and what the node makes of it comes back") {
  world w{seed_or(25)};
  add_answering_node(w);
  const auto kept =
      ask(w, 1, "hello", R"({"properties":{"the":{"enum":["cat","dog"]}},"required":["the"]})");
  CHECK(kept->reason == "stop");
  const bool said =
      kept->text.find("cat") != std::string::npos || kept->text.find("dog") != std::string::npos;
  CHECK(said);
  CHECK(kept->text.starts_with('{'));
  CHECK(kept->text.ends_with('}'));
  const auto refused = ask(w, 2, "hello", R"({"properties":{"a":{"pattern":"x"}}})");
  CHECK(refused->why.value().code == errc::unsupported);
  CHECK(refused->why->message.find("#/properties/a: 'pattern'") != std::string::npos);
  CHECK(ask(w, 3, "hello", "{")->why.value().code == errc::invalid_argument);
}

TEST_CASE("a coordinator that numbers anew after its restart gives nobody another's answer") {
  world w{seed_or(22)};
  auto& home = add_answering_node(w);
  const auto wanted = ask(w, 3, "the list of the user");
  REQUIRE(wanted->reason == "length");
  const auto foreign = ask(w, 4, "hello");
  REQUIRE(foreign->text != wanted->text);

  home.answering_gate = std::make_unique<turnstile>(*home.services.answering);
  const auto before = ask(w, 1, "hello");
  let_through(w, home);  // it has begun, and its first step is queued
  restart_coordinator(w);
  w.lose("generate");  // the door listens already, the node has not heard
  const auto waiting = ask(w, 1, "the list of the user");
  let_through(w, home);  // that step
  CHECK(waiting->text.empty());
  w.cut(home, 0ms);
  w.find_again();

  restart_coordinator(w);
  const auto old = ask(w, 1, "hello");
  restart_coordinator(w);
  const auto fresh = ask(w, 1, "the list of the user");
  CHECK(fresh->silent());
  home.answering_gate = nullptr;
  w.settle();
  CHECK(fresh->reason == "length");
  CHECK(fresh->text == wanted->text);
  CHECK(old->why.value().code == errc::unavailable);
}

TEST_CASE("prompts that come together are answered together, those beyond the places in turn") {
  world w{seed_or(23)};
  auto& home = add_answering_node(w);
  const auto alone = ask(w, 100, "hello");
  home.services.answers.limits.running_max = 8;
  restart(w, home);
  home.answering_gate = std::make_unique<turnstile>(*home.services.answering);
  std::vector<std::shared_ptr<ear>> all;
  for (std::uint64_t i = 0; i < 16; ++i) all.push_back(ask(w, i, "hello"));
  CHECK(home.services.answering->queued() == 1);
  std::size_t ended = 0;
  for (int steps = 0; ended < all.size() && steps < 1000; ++steps) {
    let_through(w, home);
    // Nobody ends before one that came earlier: all ask for the same.
    while (ended < all.size() && !all[ended]->silent()) ++ended;
    for (auto i = ended; i < all.size(); ++i) CHECK(all[i]->silent());
  }
  for (const auto& one : all) {
    CHECK(one->reason == "length");
    CHECK(one->text == alone->text);
  }
}

TEST_CASE("a required call crosses the link as a call, not as text") {
  world w{seed_or(27)};
  add_answering_node(w, {.context = 2048});
  actors::generation_spec spec;
  spec.model = "tiny";
  spec.turns = {{"user", "hello"}};
  spec.offer.tools =
      R"([{"type":"function","function":{"name":"light","parameters":{"type":"object",)"
      R"("properties":{"on":{"type":"boolean"}},"required":["on"]}}},)"
      R"({"type":"function","function":{"name":"door"}}])";
  spec.offer.required = true;
  spec.offer.name = "light";
  const auto called = ask(w, 1, spec);
  REQUIRE_FALSE(called->why);
  CHECK(called->text.empty());
  CHECK(called->reason == "tool_calls");
  REQUIRE(called->calls.size() == 1);
  CHECK(called->calls[0].id.starts_with("call_"));
  CHECK(called->calls[0].name == "light");
  const bool on = called->calls[0].arguments == R"({"on":true})";
  CHECK((on || called->calls[0].arguments == R"({"on":false})"));

  spec.tokens_max = 10;  // cut short, it is none
  const auto cut = ask(w, 2, spec);
  CHECK(cut->reason == "length");
  CHECK(cut->calls.empty());
  CHECK(cut->text.starts_with("<tool_call>"));
  spec.offer.name = "roof";
  CHECK(ask(w, 3, spec)->why.value().param == "tool_choice");
  spec.offer.required = false, spec.schema = R"({"type":"object"})";
  CHECK(ask(w, 4, spec)->why.value().param == "response_format");
  spec.offer.tools = R"([{"type":"function","function":{"name":"a b"}}])";
  const auto wrong = ask(w, 5, spec)->why.value();
  CHECK(wrong.code == errc::invalid_argument);
  CHECK(wrong.param == "tools[0].function.name");
}

TEST_CASE("an answer that nobody reads along with comes in few pieces, none too large to travel") {
  world w{seed_or(29)};
  add_answering_node(w, {.context = 2048});
  actors::generation_spec spec;
  spec.model = "tiny";
  spec.prompt = "hello";
  spec.temperature = 0;
  spec.logit_bias = {{0, -100}, {2, -100}};  // it goes on
  spec.tokens_max = 600;
  CHECK(ask(w, 1, spec, false)->pieces == 1);
  spec.logprobs = 20;
  const auto probed = ask(w, 2, spec, false);
  CHECK(probed->reason == "length");
  CHECK(probed->logprobs == 600);
  CHECK(probed->pieces > 2);
  CHECK(probed->pieces < 20);
}

TEST_CASE("texts are embedded in their order, many more than are computed at once") {
  world w{seed_or(28)};
  auto& home = add_answering_node(w);
  const auto of = [&](std::vector<std::string> texts, std::uint32_t dimensions = 0) {
    return embed(w, 1, std::move(texts), dimensions)->value();
  };
  const auto hello = of({"hello"}), user = of({"the user"});
  REQUIRE(hello.vectors.size() == 1);
  CHECK(hello.vectors[0].size() == 32);
  CHECK(hello.vectors != user.vectors);
  std::vector<std::string> many;
  for (int i = 0; i < 50; ++i) many.emplace_back(i % 2 ? "the user" : "hello");
  const auto all = of(many);
  REQUIRE(all.vectors.size() == 50);
  for (std::size_t i = 0; i < 50; ++i) CHECK(all.vectors[i] == (i % 2 ? user : hello).vectors[0]);
  CHECK(all.tokens == 25 * (hello.tokens + user.tokens));
  const auto cut = of({"hello"}, 4).vectors[0];
  REQUIRE(cut.size() == 4);
  CHECK(std::inner_product(cut.begin(), cut.end(), cut.begin(), 0.0) == Approx(1).epsilon(1e-5));

  const auto wide = embed(w, 2, {"hello"}, 33)->error();
  CHECK((wide.code == errc::invalid_argument && wide.param == "dimensions"));
  const auto long_one = embed(w, 3, {"hello", std::string(500, 'x')}, 0)->error();
  CHECK((long_one.code == errc::too_long && long_one.param == "input[1]"));
  CHECK(embed(w, 4, {"hello"}, 0, "nobody")->error().code == errc::not_found);

  home.answering_gate = std::make_unique<turnstile>(*home.services.answering);
  const auto stopped = embed(w, 5, many, 0), lost = embed(w, 6, many, 0);
  CHECK_FALSE(stopped->has_value());
  caf::anon_send(w.cloud(), actors::stop_generation{5});
  w.settle();
  CHECK(stopped->error().code == errc::cancelled);
  w.cut(home, 0ms);
  w.settle();
  CHECK(lost->error().code == errc::unavailable);
  let_through(w, home);
  CHECK(home.services.answering->queued() == 0);
}

TEST_CASE("long lists of texts neither fill the queue nor are refused by it") {
  world w{seed_or(30)};
  auto& home = add_answering_node(w);
  home.services.answers.limits.running_max = 1;
  home.services.answers.limits.waiting_max = 4;
  restart(w, home);
  home.answering_gate = std::make_unique<turnstile>(*home.services.answering);
  const std::vector<std::string> many(40, "hello");
  const auto first = embed(w, 1, many, 0), second = embed(w, 2, many, 0);
  let_through(w, home);
  std::vector<std::shared_ptr<ear>> prompts;
  for (std::uint64_t i = 3; i < 5; ++i) prompts.push_back(ask(w, i, "hello"));
  while (!first->has_value() || !second->has_value() || prompts[1]->silent()) let_through(w, home);
  CHECK(first->value().vectors.size() == 40);
  CHECK(second->value().vectors.size() == 40);
  for (const auto& one : prompts) CHECK(one->reason == "length");
}

TEST_CASE("a prompt that waits can be given up, and past the bound one is refused") {
  world w{seed_or(24)};
  auto& home = add_answering_node(w);
  home.services.answers.limits.running_max = 2;
  home.services.answers.limits.waiting_max = 3;
  restart(w, home);
  home.answering_gate = std::make_unique<turnstile>(*home.services.answering);
  std::vector<std::shared_ptr<ear>> all;
  for (std::uint64_t i = 0; i < 2; ++i) all.push_back(ask(w, i, "hello"));
  let_through(w, home);  // they run
  for (std::uint64_t i = 2; i < 6; ++i) all.push_back(ask(w, i, "hello"));
  let_through(w, home);
  CHECK(all[5]->why.value().code == errc::resource_exhausted);
  CHECK(all[5]->why.value().hint.find("try again") != std::string::npos);
  CHECK(all[5]->why.value().retry_after_s > 0);

  caf::anon_send(w.cloud(), actors::stop_generation{4});
  w.settle();
  CHECK(all[4]->reason == "cancelled");
  const auto again = ask(w, 6, "hello");
  let_through(w, home);
  CHECK(again->silent());  // it has the other's place

  w.cut(home, 0ms);  // nobody waits any more, and nobody begins
  w.settle();
  let_through(w, home);
  CHECK(home.services.answering->queued() == 0);
  CHECK(again->why.value().code == errc::unavailable);
  home.answering_gate = nullptr;
  REQUIRE(w.until([&] { return w.passed("hello answered") == 4; }));
  CHECK(ask(w, 1, "hello")->reason == "length");
}

TEST_CASE("a model that nobody asks for is released, and loaded again when somebody does") {
  world w{seed_or(25)};
  auto& home = add_answering_node(w);
  CHECK(ask(w, 1, "hello")->reason == "length");
  const auto keep =
      std::chrono::duration_cast<std::chrono::milliseconds>(home.services.answers.keep_idle);
  const std::weak_ptr<const actors::loaded_model> loaded = home.services.cache->get("tiny").value();
  CHECK_FALSE(loaded.expired());
  w.advance(keep - 1min);
  CHECK(ask(w, 2, "hello")->reason == "length");  // its use begins anew
  w.advance(2min);
  CHECK_FALSE(loaded.expired());
  w.advance(keep);
  CHECK(loaded.expired());
  CHECK(ask(w, 3, "hello")->reason == "length");
}

TEST_CASE("a model that is loaded and idle makes room for another that somebody asks for") {
  world w{seed_or(26)};
  auto& home = add_answering_node(w);
  const auto folder = home.services.models->folder();
  std::filesystem::copy_file(folder / "tiny.gguf", folder / "other.gguf");
  home.services.models->refresh();
  // Room for one of them.
  const auto bytes = std::filesystem::file_size(folder / "tiny.gguf");
  home.services.cache = std::make_shared<actors::model_cache>(*home.services.models, bytes * 3 / 2);
  restart(w, home);
  CHECK(ask(w, 1, "hello")->reason == "length");
  const std::weak_ptr<const actors::loaded_model> first = home.services.cache->get("tiny").value();
  CHECK(ask(w, 2, "hello", "", "other")->reason == "length");
  CHECK(first.expired());
  CHECK(ask(w, 3, "hello")->reason == "length");
}

TEST_CASE("a draft model is there with the model it guesses for, and goes with it") {
  world w{seed_or(27)};
  auto& home = add_answering_node(w);
  const auto folder = home.services.models->folder();
  REQUIRE(test::write_tiny_model(folder / "small.gguf", {.seed = 2}));
  home.services.models->refresh();
  const auto alone = ask(w, 1, "hello");
  home.services.answers.draft = "small";
  restart(w, home);
  CHECK(ask(w, 2, "hello")->text == alone->text);
  // The cache's, the room's, and this one.
  CHECK(home.services.cache->get("small").value().use_count() == 3);
  const std::weak_ptr<const actors::loaded_model> draft = home.services.cache->get("small").value();
  w.advance(std::chrono::ceil<std::chrono::minutes>(home.services.answers.keep_idle) + 1min);
  CHECK(draft.expired());
  CHECK(embed(w, 3, {"hello"}, 0)->has_value());
  CHECK(home.services.cache->get("small").value().use_count() == 3);
}

TEST_CASE("a draft model that is not to be had costs no answer") {
  world w{seed_or(28)};
  auto& home = add_answering_node(w);
  const auto folder = home.services.models->folder();
  const auto alone = ask(w, 1, "hello");
  for (const auto* draft : {"missing", "broken", "tiny"}) {
    INFO(draft);
    std::ofstream(folder / "broken.gguf") << "GGUF";
    home.services.answers.draft = draft;
    restart(w, home);
    CHECK(ask(w, 2, "hello")->text == alone->text);
  }
  // Nor one that is too large beside the model.
  REQUIRE(test::write_tiny_model(folder / "large.gguf", {.layers = 12}));
  home.services.models->refresh();
  home.services.cache = std::make_shared<actors::model_cache>(
      *home.services.models, std::filesystem::file_size(folder / "large.gguf"));
  home.services.answers.draft = "large";
  restart(w, home);
  CHECK(ask(w, 3, "hello")->text == alone->text);
}

TEST_CASE("each process of the cloud begins its numbers somewhere else") {
  virtual_system system;
  std::vector<std::uint64_t> seen;
  const auto stand_in = system.actors().spawn<listener>(&seen);
  for (int process = 0; process < 2; ++process) {
    actors::backend_services services;
    services.coordinator = caf::actor_cast<actors::coordinator_actor>(
        caf::actor_cast<caf::strong_actor_ptr>(stand_in));
    auto cloud = std::make_shared<actors::cloud_backend>(std::move(services));
    cloud->generate({}, nullptr);
    cloud->generate({}, nullptr);
    system.run();
  }
  system.kill(stand_in);
  REQUIRE(seen.size() == 4);
  CHECK(seen[1] == seen[0] + 1);
  CHECK(seen[2] != seen[0]);
}

#include "actors/messages.hpp"

#include <caf/all.hpp>
#include <caf/binary_deserializer.hpp>
#include <caf/binary_serializer.hpp>
#include <catch2/catch.hpp>

#include "actors/message_types.hpp"
#include "runtime/system.hpp"

using namespace dlls;
using namespace dlls::actors;

namespace {

// As on a link: as part of a message, whose type travels by name.
template <class T>
T over_the_wire(caf::actor_system& system, const T& value) {
  CAPTURE(runtime::wire_name<T>());
  auto pack = [&](const T& one) {
    std::vector<char> bytes;
    caf::binary_serializer sink{system, bytes};
    auto message = caf::make_message(one);
    REQUIRE_FALSE(sink(message));
    return bytes;
  };
  const auto bytes = pack(value);
  caf::message arrived;
  caf::binary_deserializer source{system, bytes};
  REQUIRE_FALSE(source(arrived));
  CHECK(source.remaining() == 0);
  REQUIRE(arrived.match_elements<T>());
  auto copy = arrived.get_as<T>(0);
  CHECK(pack(copy) == bytes);
  // Cut anywhere it is an error or, CAF's way with many of them, an empty message.
  for (std::size_t n = 0; n < bytes.size(); n += 1 + n / 8) {
    caf::message cut;
    caf::binary_deserializer part{system, bytes.data(), n};
    const bool refused = static_cast<bool>(part(cut));
    CHECK((refused || cut.empty()));
  }
  return copy;
}

template <class... Ts>
void defaults_survive(caf::actor_system& system, runtime::message_list<Ts...>) {
  (over_the_wire(system, Ts{}), ...);
}

const job_ref job{"job-ä", 0xFFFFFFFF, ~std::uint64_t{0}};
const artifact_ref artifact{"a b", std::string(64, 'f'), ~std::uint64_t{0}};
const manifest result{{artifact, {}}, "ft:m", "{}"};

}  // namespace

TEST_CASE("every message type of the protocol survives the wire, field by field") {
  auto host = runtime::make_system({.workers = 1, .announce = wire_types::announce});
  auto& system = host->actors();
  defaults_survive(system, wire_types{});
  auto wire = [&](const auto& value) { return over_the_wire(system, value); };

  CHECK(wire(job) == job);
  CHECK(wire(artifact) == artifact);
  CHECK(wire(result) == result);

  hello said;
  said.protocol = 7, said.software = "dlls", said.kinds = {"a", "b"};
  said.models = {{"m", 1, 2, -3}};
  said.held = {{job, held_state::failed}};
  const auto heard = wire(said);
  CHECK(heard.protocol == 7);
  CHECK(heard.software == "dlls");
  CHECK(heard.kinds == said.kinds);
  REQUIRE(heard.models.size() == 1);
  CHECK(heard.models[0].name == "m");
  CHECK(heard.models[0].bytes == 1);
  CHECK(heard.models[0].context == 2);
  CHECK(heard.models[0].created == -3);
  REQUIRE(heard.held.size() == 1);
  CHECK(heard.held[0].job == job);
  CHECK(heard.held[0].state == 2);

  welcome greeting;
  greeting.epoch = 9, greeting.drop = {job, {}};
  CHECK(wire(greeting).epoch == 9);
  CHECK(wire(greeting).drop == greeting.drop);
  models_changed news;
  news.models = said.models;
  CHECK(wire(news).models.at(0).name == "m");

  const auto input = wire(fetch_input{job, "s", 1ull << 40});
  CHECK((input.job == job && input.sha256 == "s" && input.offset == 1ull << 40));
  const auto wanted = wire(pull{job, "s", 1ull << 40});
  CHECK((wanted.job == job && wanted.sha256 == "s" && wanted.offset == 1ull << 40));
  chunk some;
  some.offset = 3, some.bytes = std::string("\0\xff\n", 3), some.sha256 = std::string(32, '\x80');
  const auto got = wire(runtime::part<chunk>{some}).value;
  CHECK((got.offset == 3 && got.bytes == some.bytes && got.sha256 == some.sha256));

  ready word;
  word.job = job, word.result = result, word.silence = {4, 5};
  const auto noted_word = wire(word);
  CHECK((noted_word.job == job && noted_word.result == result));
  CHECK((noted_word.silence.bytes == 4 && noted_word.silence.packets == 5));
  failed bad;
  bad.job = job, bad.code = 200, bad.message = "why";
  const auto why = wire(bad);
  CHECK((why.job == job && why.code == 200 && why.message == "why"));
  CHECK(wire(noted{true}).drop);
  CHECK_FALSE(wire(noted{false}).drop);
  progress step;
  step.job = job, step.step = 1, step.steps_total = 2, step.loss = 0.5, step.seconds_left = 3.25;
  const auto at = wire(step);
  CHECK((at.job == job && at.step == 1 && at.steps_total == 2));
  CHECK((at.loss == 0.5 && at.seconds_left == 3.25));
}

TEST_CASE("what the cloud says survives the wire, field by field") {
  auto host = runtime::make_system({.workers = 1, .announce = wire_types::announce});
  auto& system = host->actors();
  auto wire = [&](const auto& value) { return over_the_wire(system, value); };

  offer order;
  order.job = job, order.kind = "k", order.spec_json = "{}", order.inputs = {artifact};
  const auto taken = wire(order);
  CHECK((taken.job == job && taken.kind == "k" && taken.spec_json == "{}"));
  CHECK(taken.inputs == order.inputs);
  received ack;
  ack.job = job;
  CHECK(wire(ack).job == job);
  CHECK(wire(release{job}).job == job);
  released gone;
  gone.job = job;
  CHECK(wire(gone).job == job);
  CHECK(wire(cancel{job}).job == job);
  cancelled stopped;
  stopped.job = job;
  CHECK(wire(stopped).job == job);
  CHECK(wire(status{job}).job == job);
  job_status now;
  now.held = {job, held_state::sealed}, now.seconds_left = 0.75;
  CHECK((wire(now).held.job == job && wire(now).held.state == 1));
  CHECK(wire(now).seconds_left == 0.75);
  CHECK((wire(watch{job, true}).job == job && wire(watch{job, true}).on));
}

TEST_CASE("prompts and their answers survive the wire, field by field") {
  auto host = runtime::make_system({.workers = 1, .announce = wire_types::announce});
  auto& system = host->actors();
  auto wire = [&](const auto& value) { return over_the_wire(system, value); };

  generate request;
  request.stream = true;
  auto& spec = request.spec;
  spec.model = "m", spec.turns = {{"user", "x"}}, spec.prompt = "p", spec.tokens_max = 2;
  spec.temperature = 3, spec.top_p = 4, spec.min_p = 5, spec.repetition_penalty = 6;
  spec.frequency_penalty = 7, spec.presence_penalty = 8, spec.top_k = 9, spec.seed = 10;
  spec.turns[0].calls = {{"i", "f", "{}"}}, spec.turns[0].answers = "j";
  spec.offer.tools = "[]", spec.offer.required = true, spec.offer.name = "f";
  spec.offer.parallel = false;
  spec.stop = {"s"}, spec.logit_bias = {{11, 12}}, spec.logprobs = 13;
  const auto asked = wire(request);
  const auto& s = asked.spec;
  CHECK(asked.stream);
  CHECK((s.model == "m" && s.prompt == "p" && s.tokens_max == 2));
  CHECK((s.turns.at(0).role == "user" && s.turns.at(0).content == "x"));
  CHECK((s.temperature == 3 && s.top_p == 4 && s.min_p == 5 && s.repetition_penalty == 6));
  CHECK((s.frequency_penalty == 7 && s.presence_penalty == 8 && s.top_k == 9 && s.seed == 10));
  CHECK((s.stop == spec.stop && s.logprobs == 13));
  CHECK((s.turns.at(0).calls.at(0).name == "f" && s.turns.at(0).answers == "j"));
  CHECK((s.offer.tools == "[]" && s.offer.required && s.offer.name == "f" && !s.offer.parallel));
  CHECK((s.logit_bias.at(0).token == 11 && s.logit_bias.at(0).value == 12));

  token_info info;
  info.text = "t", info.logprob = -1, info.top = {{"u", -2}};
  piece some;
  some.text = "x", some.logprobs = {info, info}, some.finish_reason = "stop";
  some.calls = {{"i", "f", "{}"}};
  some.prompt_tokens = 4, some.completion_tokens = 5;
  const auto got = wire(runtime::part<piece>{some}).value;
  CHECK((got.text == "x" && got.logprobs.size() == 2 && got.finish_reason == "stop"));
  CHECK((got.calls.at(0).id == "i" && got.calls.at(0).arguments == "{}"));
  CHECK((got.prompt_tokens == 4 && got.completion_tokens == 5));
  CHECK((got.logprobs.at(0).text == "t" && got.logprobs.at(0).logprob == -1));
  CHECK((got.logprobs.at(1).top.at(0).text == "u" && got.logprobs.at(1).top.at(0).logprob == -2));
}

TEST_CASE("texts and their vectors cross the link whole") {
  auto host = runtime::make_system({.workers = 1, .announce = wire_types::announce});
  embed order;
  order.model = "m", order.texts = {"a", "b"}, order.dimensions = 3, order.owner = "o";
  const auto asked = over_the_wire(host->actors(), order);
  CHECK((asked.model == "m" && asked.texts == order.texts));
  CHECK((asked.dimensions == 3 && asked.owner == "o"));
  embedded made;
  made.index = 1, made.vector = {0.5F, -1e-30F}, made.tokens = 4;
  const auto got = over_the_wire(host->actors(), runtime::part<embedded>{made}).value;
  CHECK((got.index == 1 && got.vector == made.vector && got.tokens == 4));
}

TEST_CASE("the gate knows every message of both doors by name, and nothing else") {
  auto host = runtime::make_system({.workers = 1, .announce = wire_types::announce});
  const auto texts = link_options().rules.resolve(host->actors());
  auto mentions = [](const auto& all, const std::string& name) {
    for (const auto& text : all)
      if (text.find("dlls::actors::" + name) != text.npos) return true;
    return false;
  };
  for (const auto* name :
       {"hello", "fetch_input", "ready", "failed", "models_changed", "progress", "offer", "pull",
        "release", "cancel", "status", "watch", "generate", "embed"})
    CHECK(mentions(texts.messages, name));
  for (const auto* name : {"welcome", "noted", "received", "released", "cancelled", "job_status"})
    CHECK(mentions(texts.answers, name));
  for (const auto* name : {"chunk", "piece", "embedded"}) CHECK(mentions(texts.parts, name));
  CHECK(texts.messages.size() == 14);
  CHECK(texts.parts.size() == 3);
  for (const auto* name : {"abandon", "link_end", "work_order", "arrival", "cancel_job"}) {
    CHECK_FALSE(mentions(texts.messages, name));
    CHECK_FALSE(mentions(texts.answers, name));
  }
}

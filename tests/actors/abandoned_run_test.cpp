// A job that is cancelled while its run is on the training thread, at each of its turns.
#include <catch2/catch.hpp>

#include "base/sha256.hpp"
#include "tests/actors/protocol_world.hpp"
#include "tests/support/catch_result.hpp"
#include "tests/support/tiny_model.hpp"

using namespace dlls;
using namespace dlls::tests;
using actors::job_ref;

namespace {

const job_ref job{"job-12345678", 1, 1};

// A node that holds a small pretrain job, whose training thread waits before each piece of work.
node_process& add_training_node(world& w) {
  auto& home = w.add_node("home");
  REQUIRE(test::write_tiny_model(home.services.models->folder() / "tiny.gguf"));
  home.services.models->refresh();
  std::string text;
  for (int i = 0; i < 20; ++i) text += "the hello and the user are in the list";
  actors::offer order;
  order.job = job;
  order.kind = "pretrain";
  order.spec_json = R"({"model": "tiny", "hyperparameters": {"n_epochs": 1}})";
  order.inputs.emplace_back("text", base::sha256_hex(text), text.size());
  auto writer =
      home.services.artifacts->begin(ledger::expectation{text.size(), order.inputs.front().sha256});
  REQUIRE(writer->append(std::as_bytes(std::span{text})));
  REQUIRE(writer->seal());
  home.training_gate = std::make_unique<turnstile>(*home.services.training);
  caf::anon_send(home.actor, order);
  w.settle();
  REQUIRE(home.held() == 1);
  return home;
}

std::size_t files_in(const std::filesystem::path& folder) {
  return static_cast<std::size_t>(std::distance(
      std::filesystem::directory_iterator{folder}, std::filesystem::directory_iterator{}));
}

}  // namespace

TEST_CASE("a job that is cancelled at any turn of its run leaves no model") {
  int turns = 0;
  {
    world w{seed_or(31)};
    auto& home = add_training_node(w);
    for (; home.services.models->list().size() == 1 && turns < 100; ++turns) {
      home.training_gate->let_through();
      w.settle();
    }
    CHECK(home.services.models->list().size() == 2);
  }
  REQUIRE(turns >= 3);  // to begin, a step, the seal
  for (int cancelled_after = 0; cancelled_after <= turns; ++cancelled_after) {
    CAPTURE(cancelled_after, turns);
    world w{seed_or(32)};
    auto& home = add_training_node(w);
    for (int turn = 1; turn <= cancelled_after; ++turn) {
      home.training_gate->let_through();
      if (turn < cancelled_after) w.settle();
    }
    // The node hears of it before what the thread has just done.
    caf::anon_send(home.actor, actors::cancel{job});
    w.settle();
    home.training_gate = nullptr;
    w.settle();
    CHECK(home.held() == 0);
    CHECK(home.services.models->list().size() == 1);
    CHECK(files_in(home.services.models->folder()) == 1);
    CHECK(home.services.artifacts->list().value().empty());
  }
}

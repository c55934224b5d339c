// What the protocol does when a side says what it should not, or cannot read what it knows.
#include <catch2/catch.hpp>

#include "base/sha256.hpp"
#include "gateway/backend.hpp"
#include "tests/actors/protocol_world.hpp"
#include "tests/support/catch_result.hpp"

using namespace dlls;
using namespace dlls::tests;
using namespace std::chrono_literals;
using ledger::job_state;

namespace {

const std::string content = "a few bytes";

actors::job_ref ref(world& w, const std::string& id) {
  const auto job = w.job(id);
  return {job.id, job.attempt, job.fence};
}

}  // namespace

TEST_CASE("a coordinator that cannot read its ledger welcomes nobody, and no node drops a job") {
  world w{seed_or(20)};
  auto& home = w.add_node("home");
  const auto ready = w.submit({content});
  REQUIRE(until_state(w, ready, job_state::fetched));
  w.hold_work(home);
  const auto running = w.submit({content, "running"});
  REQUIRE(until_state(w, running, job_state::running));
  w.break_ledger();
  w.cut(home, 0ms);
  w.advance(5min);
  CHECK(w.passed("hello") >= 2);
  CHECK(home.held() == 2);
  w.stop_coordinator();
  w.start_coordinator();
  w.let_work(home);
  REQUIRE(until_state(w, running, job_state::fetched));
  CHECK(w.job(running).fence == 1);
}

TEST_CASE("a failure is recorded and ends the job, whatever its text") {
  world w{seed_or(21)};
  auto& home = w.add_node("home");
  w.hold_work(home);
  const auto id = w.submit({content});
  REQUIRE(until_state(w, id, job_state::running));
  actors::failed word;
  word.job = ref(w, id);
  word.code = static_cast<std::uint8_t>(base::errc::invalid_argument);
  SECTION("longer than the ledger's limit, which cuts a character") {
    word.message = std::string(4095, 'a') + "\xed\x95\x9c" + std::string(5000, 'b');
  }
  SECTION("no UTF-8") { word.message = "half a character: \xed\x95"; }
  SECTION("with a NUL") { word.message = std::string{"a\0b", 3}; }
  const auto noted = w.say(home, word);
  REQUIRE(noted);
  CHECK(noted->drop);
  CHECK(w.state(id) == job_state::failed);
  CHECK_FALSE(w.job(id).error_message.empty());
  w.let_work(home);
}

TEST_CASE("a result that the ledger can never take ends the job instead of coming again") {
  world w{seed_or(22)};
  auto& home = w.add_node("home");
  w.hold_work(home);
  const auto id = w.submit({content});
  REQUIRE(until_state(w, id, job_state::running));
  actors::ready word;
  word.job = ref(w, id);
  word.result.model = std::string(300, 'm');
  const auto noted = w.say(home, word);
  REQUIRE(noted);
  CHECK(noted->drop);
  CHECK(w.state(id) == job_state::failed);
  CHECK(w.job(id).error_code == "invalid_result");
  w.let_work(home);
}

TEST_CASE("a job whose input has vanished fails with a name for it") {
  world w{seed_or(23)};
  w.stop_coordinator();
  w.start_coordinator();
  w.add_node("home");
  const auto id = w.submit({content});
  std::filesystem::remove(w.folder() / "cloud" / "blobs" / base::sha256_hex(content));
  REQUIRE(until_state(w, id, job_state::failed));
  CHECK(w.job(id).error_code == "input_lost");
}

TEST_CASE("a damaged chunk is asked for again; only the third time is the result lost") {
  world w{seed_or(24)};
  auto& home = w.add_node("home");
  const auto id = w.submit({content});
  SECTION("twice") {
    w.damage_chunks(2);
    REQUIRE(until_state(w, id, job_state::fetched));
    CHECK_FALSE(w.picked_up_sum(id).empty());
  }
  SECTION("always") {
    w.damage_chunks(1000);
    REQUIRE(until_state(w, id, job_state::failed));
    CHECK(w.job(id).error_code == "result_lost");
  }
  CHECK(home.held() <= 1);
}

TEST_CASE("who looks away before the ledger has answered is not left watching") {
  struct sink final : gateway::progress_sink {
    void progress(gateway::job_progress) override { ++told; }
    void done(gateway::job_info) override { ++told; }
    void failed(base::error) override { ++told; }
    int told = 0;
  };
  world w{seed_or(25)};
  auto& home = w.add_node("home");
  w.hold_work(home);
  const auto id = w.submit({content});
  REQUIRE(until_state(w, id, job_state::running));
  const auto eyes = std::make_shared<sink>();
  SECTION("at once") {
    w.watch(id, true, eyes);
    w.watch(id, false, eyes);
    w.settle();
    CHECK(eyes->told == 0);
    CHECK(w.passed("watch") == 0);
  }
  SECTION("later: the node is told, and told of the end") {
    w.watch(id, true, eyes);
    w.settle();
    CHECK(eyes->told == 1);
    CHECK(w.passed("watch") == 1);
    w.watch(id, false, eyes);
    w.settle();
    CHECK(w.passed("watch") == 2);
  }
  w.let_work(home);
  REQUIRE(until_state(w, id, job_state::fetched));
}

namespace {

// A ledger whose queue is full for as long as the test wants.
struct busy_ledger final : conditions {
  bool full = false;
  bool ledger_is_full() override { return full; }
};

}  // namespace

TEST_CASE("a pause that the ledger could not take at once is asked for again") {
  busy_ledger busy;
  world w{seed_or(26), {}, &busy};
  auto& home = w.add_node("home");
  w.lose("ready");
  const auto id = w.submit({content});
  REQUIRE(until_state(w, id, job_state::running));
  w.find_again();
  w.add_node("other");
  busy.full = true;
  w.stop_node(home);  // for good
  w.advance(20s);
  busy.full = false;
  REQUIRE(until_state(w, id, job_state::fetched));
  CHECK(w.job(id).node == "other");
}

TEST_CASE("what follows an offer is asked of a busy ledger until it is written") {
  busy_ledger busy;
  world w{seed_or(27), {}, &busy};
  w.add_node("home");
  SECTION("the acknowledgement") {
    w.lose("ready");
    w.lose("offer answered");
  }
  SECTION("the refusal") { w.lose("fetch_input"); }
  const auto id = w.submit({content});
  REQUIRE(until_state(w, id, job_state::offered));
  busy.full = true;
  w.find_again();
  w.advance(15min);  // past the offer's time: the link stands, and nobody says hello
  busy.full = false;
  REQUIRE(until_state(w, id, job_state::fetched));
}

// Links between two systems: messages both ways, their size, loss, replacement, what they cost.
#include <fmt/core.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "link_fixture.hpp"
#include "tests/support/catch_result.hpp"

using namespace link_test;
using base::errc;
using Catch::Matchers::Contains;
using Catch::Matchers::StartsWith;

TEST_CASE("typed messages cross a link both ways, and nobody hands out a handle") {
  certificates issued;
  coordinator_side coordinator{issued};
  node_side node;
  auto call = node.dial(coordinator.port, issued.of("node", "gpu0"));
  REQUIRE(call.result);
  CHECK(node.ask<int>(call.door(), ping_atom::value, 7).value() == 7);
  // The door asks the exported actor, whose proxy it has as the sender of a hello.
  CHECK(node.ask<int>(node.worker, greet_atom::value, call.door()).value() == 42);

  const auto here = call.result->link;
  CHECK(here->peer() == link::peer_identity{"coordinator", "c0"});
  CHECK(here->node() == coordinator.system.node());
  const auto there = coordinator.connections().at(0);
  CHECK(there->peer() == link::peer_identity{"node", "gpu0"});
  CHECK(there->node() == node.system.node());
  CHECK(there->epoch() != here->epoch());
  CHECK_THAT(there->id(), StartsWith("node/gpu0#"));
}

TEST_CASE("an endpoint takes CAF's remote spawn and remote configuration away") {
  config settings;
  caf::actor_system system{settings};
  CHECK(system.registry().get(caf::atom("SpawnServ")));
  const link::endpoint endpoint{system, test_options()};
  CHECK_FALSE(system.registry().get(caf::atom("SpawnServ")));
  CHECK_FALSE(system.registry().get(caf::atom("ConfigServ")));
}

TEST_CASE("an error that answers a request crosses with its text") {
  certificates issued;
  coordinator_side coordinator{issued};
  node_side node;
  auto call = node.dial(coordinator.port, issued.of("node", "gpu0"));
  const auto answer = node.ask<int>(call.door(), fail_atom::value);
  REQUIRE_FALSE(answer);
  CHECK_THAT(answer.error().message, Contains("runtime_error") && Contains("as asked"));
}

TEST_CASE("five megabytes pass in chunks, and the link counts what they cost") {
  certificates issued;
  coordinator_side coordinator{issued};
  node_side node;
  auto call = node.dial(coordinator.port, issued.of("node", "gpu0"));
  const auto before = call.result->link->traffic();
  constexpr std::uint64_t total = 5'000'000, step = 64u << 10;
  std::uint64_t sent = 0, chunks = 0;
  while (sent < total) {
    const auto size = std::min(step, total - sent);
    const chunk piece{sent, std::string(size, static_cast<char>(sent))};
    sent += size;
    ++chunks;
    REQUIRE(node.ask<std::uint64_t>(call.door(), piece).value() == sent);
  }
  const auto after = call.result->link->traffic();
  CHECK(after.bytes_out - before.bytes_out > total);
  CHECK(after.bytes_out - before.bytes_out < total + total / 100);  // framing is below 1 %
  CHECK(after.frames_in - before.frames_in >= chunks);
  CHECK(after.packets_out > before.packets_out);
}

TEST_CASE("a message that is too large for the link fails alone, whoever sends it") {
  certificates issued;
  coordinator_side coordinator{issued};
  node_side node;
  auto call = node.dial(coordinator.port, issued.of("node", "gpu0"));
  const int size = static_cast<int>(test_options().frame_bytes_max) + 1;
  const chunk large{0, std::string(static_cast<std::size_t>(size), 'x')};
  const auto request = node.ask<std::uint64_t>(call.door(), large);
  REQUIRE_FALSE(request);
  CHECK_THAT(request.error().message, Contains("too large for the link"));
  const auto answer = node.ask<std::string>(call.door(), large_atom::value, size);
  REQUIRE_FALSE(answer);
  CHECK_THAT(answer.error().message, Contains("too large for the link"));
  CHECK(node.ask<int>(call.door(), ping_atom::value, 3).value() == 3);
  CHECK(call.result->link->is_open());
}

TEST_CASE("a lost link fails what waits, what comes later, and takes the proxies down") {
  certificates issued;
  coordinator_side coordinator{issued};
  node_side node;
  auto call = node.dial(coordinator.port, issued.of("node", "gpu0"));
  flag down;
  auto watcher = node.system.spawn(
      [&](caf::event_based_actor* self, const door_interface& of) -> caf::behavior {
        self->monitor(of);
        self->set_down_handler([&](const caf::down_msg&) { down.raise(); });
        return {[](int) {}};
      },
      call.door());
  auto waiting = std::async(std::launch::async, [&] {
    return node.ask<int>(call.door(), hang_atom::value);  // with no deadline of its own
  });
  // Behind the one that hangs on the same link, so it has arrived once this is answered.
  while (coordinator.connections().at(0)->traffic().frames_in < 4)
    REQUIRE(node.ask<int>(call.door(), ping_atom::value, 1));

  SECTION("by the coordinator") { coordinator.connections().at(0)->close("for a test"); }
  SECTION("by the node") { call.result->link->close("for a test"); }
  SECTION("by the end of the coordinator's endpoint") { coordinator.endpoint.reset(); }

  REQUIRE(waiting.wait_for(patience) == std::future_status::ready);
  CHECK_THAT(waiting.get().error().message, Contains("receiver_down"));
  CHECK(down.wait());
  CHECK(call.closed->wait());
  CHECK_FALSE(call.result->link->is_open());
  CHECK_THAT(
      node.ask<int>(call.door(), ping_atom::value, 1).error().message, Contains("receiver_down"));
  CHECK(coordinator.closed(1).size() == 1);
  caf::anon_send_exit(watcher, caf::exit_reason::user_shutdown);
}

TEST_CASE("a later link of the same certificate replaces the earlier one") {
  certificates issued;
  coordinator_side coordinator{issued};
  const auto own = issued.of("node", "gpu0");
  node_side node;
  auto first = node.dial(coordinator.port, own);
  REQUIRE(first.result);

  SECTION("from another process, as when the node was restarted") {
    node_side restarted;
    auto second = restarted.dial(coordinator.port, own);
    REQUIRE(second.result);
    CHECK(first.closed->wait());
    CHECK_THAT(coordinator.closed(1).at(0), Contains("replaced by a newer link of node/gpu0"));
    CHECK(restarted.ask<int>(second.door(), ping_atom::value, 5).value() == 5);
  }
  SECTION("from the same process, before the loss was noticed") {
    auto second = node.dial(coordinator.port, own);
    REQUIRE(second.result);
    CHECK(first.closed->wait());
    CHECK(second.result->link->epoch() > first.result->link->epoch());
    CHECK(node.ask<int>(second.door(), ping_atom::value, 5).value() == 5);
    CHECK_THAT(
        node.ask<int>(first.door(), ping_atom::value, 1).error().message,
        Contains("receiver_down"));
  }
}

namespace {
std::size_t entries(const char* folder) {
  const std::filesystem::directory_iterator all{folder};
  return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}
}  // namespace

TEST_CASE("two hundred reconnects leave no descriptor, thread or actor behind") {
  certificates issued;
  coordinator_side coordinator{issued};
  node_side node;
  const auto own = issued.of("node", "gpu0");
  struct cost {
    std::size_t descriptors = entries("/proc/self/fd"), threads = entries("/proc/self/task");
    bool operator==(const cost&) const = default;
  };
  std::optional<cost> at_first;
  for (std::size_t i = 1; i <= 200; ++i) {
    {
      INFO("reconnect " << i);
      auto call = node.dial(coordinator.port, own);
      REQUIRE(call.result);
      REQUIRE(node.ask<int>(node.worker, greet_atom::value, call.door()).value() == 42);
      call.result->link->close("to dial again");
      REQUIRE(call.closed->wait());
    }
    REQUIRE(coordinator.closed(i).size() == i);
    if (i == 10) at_first.emplace();
  }
  const cost at_last;
  INFO(
      "descriptors " << at_first->descriptors << " -> " << at_last.descriptors << ", threads "
                     << at_first->threads << " -> " << at_last.threads);
  // A socket may be a moment from being closed by CAF's loop, so one more or less is nothing.
  CHECK(at_last.descriptors <= at_first->descriptors + 1);
  CHECK(at_last.threads == at_first->threads);
  // The doors have ended; what is left is the node's worker and CAF's own.
  CHECK(coordinator.system.registry().running() <= 1);
}

TEST_CASE("the kernel probes an idle link on both ends, the node's first") {
  certificates issued;
  coordinator_side coordinator{issued};
  node_side node;
  auto call = node.dial(coordinator.port, issued.of("node", "gpu0"));
  REQUIRE(node.ask<int>(call.door(), ping_atom::value, 1));
  const auto timers = [&] {  // proc(5): "sl local remote st tx:rx tr:when ...", in 1/100 s
    std::ifstream table{"/proc/net/tcp"};
    std::vector<std::string> found;
    std::string sl, local, remote, state, queues, timer;
    for (std::string line; std::getline(table, line);) {
      std::istringstream words{line};
      words >> sl >> local >> remote >> state >> queues >> timer;
      const auto port = fmt::format(":{:04X}", coordinator.port);
      if (state == "01" && (local.ends_with(port) || remote.ends_with(port)))
        found.push_back(timer);
    }
    return found;
  };
  auto found = timers();
  if (found.size() != 2) {
    WARN("skipped: this kernel does not show its TCP timers");
    return;
  }
  // Timer 1 waits for an acknowledgement, within a fraction of a second; 2 is keepalive.
  const auto until = std::chrono::steady_clock::now() + patience;
  while (!std::ranges::all_of(found, [](auto& t) { return t.starts_with("02:"); })) {
    REQUIRE(std::chrono::steady_clock::now() < until);
    std::this_thread::yield();
    found = timers();
  }
  std::vector<double> seconds;
  for (const auto& timer : found)
    seconds.push_back(static_cast<double>(std::stoul(timer.substr(3), nullptr, 16)) / 100);
  std::ranges::sort(seconds);
  CHECK(seconds[0] == Approx(240).margin(10));
  CHECK(seconds[1] == Approx(900).margin(10));
}

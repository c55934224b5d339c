// The sender of webhooks, over a ledger whose disk fills up.
#include "actors/outbox.hpp"

#include <catch2/catch.hpp>

#include "actors/cloud_backend.hpp"
#include "tests/actors/protocol_world.hpp"
#include "tests/ledger/fault_vfs.hpp"
#include "tests/support/catch_result.hpp"

using namespace dlls;
using namespace dlls::tests;
using namespace std::chrono_literals;

TEST_CASE("while the ledger can't write the outbox asks ever more rarely, and then delivers") {
  ledger::fault_vfs disk;
  world w{seed_or(51)};
  w.stop_coordinator();
  w.ledger_options().vfs = disk.name();
  w.start_coordinator();
  w.add_node("home");
  REQUIRE(ledger::wait_for<bool>([&](auto done) {
    w.books()->set_setting(
        actors::webhook_setting("me"), R"({"url": "https://example.com", "secret": "s"})", done);
  }));
  const auto id = w.submit({"content"});
  REQUIRE(until_state(w, id, ledger::job_state::fetched));

  int delivered = 0;
  actors::outbox_services services;
  services.jobs = w.books();
  services.network =
      std::make_shared<runtime::worker_pool>(runtime::worker_pool::options{1, 16, "network"});
  services.deliver = [&](const auto&, const auto&, auto) {
    ++delivered;
    gateway::webhook_outcome good;
    good.delivered = true;
    good.status = 200;
    return base::result<gateway::webhook_outcome>{good};
  };
  services.clock = &w.system().base_clock();
  disk.fail_at(1, ledger::disk_fault::no_space, true);
  const auto network = services.network;
  w.system().spawn<actors::outbox>(std::move(services));
  w.advance(30s);
  CHECK(disk.has_failed());
  REQUIRE(disk.operations() < 100);
  w.advance(10min);
  CHECK(disk.operations() < 100);
  CHECK(delivered == 0);
  disk.heal();
  w.advance(6min);
  std::promise<void> reached;
  REQUIRE(network->submit([&] { reached.set_value(); }));
  reached.get_future().wait();
  CHECK(delivered == 1);
}

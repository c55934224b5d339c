// Links between two systems: messages both ways, refusals in words, loss, replacement.
#include <catch2/catch.hpp>

#include "link_fixture.hpp"
#include "tests/support/catch_result.hpp"

using namespace link_test;
using base::errc;

TEST_CASE("typed messages cross a link both ways, and nobody hands out a handle") {
  certificates issued;
  coordinator_side coordinator{issued};
  node_side node;
  auto call = node.dial(coordinator.port, issued.of("node", "gpu0"));
  REQUIRE(call.result);
  CHECK(node.ask<int>(call.door(), ping_atom::value, 7).value() == 7);

  // The door calls the exported actor back through the proxy of its sender.
  std::promise<int> called_back;
  auto asker = node.system.spawn(
      [&](caf::event_based_actor* self, door_interface to) -> caf::behavior {
        self->request(to, caf::infinite, ping_atom::value, 1).then([&called_back](int x) {
          called_back.set_value(x);
        });
        return {[](int) {}};
      },
      call.door());
  CHECK(called_back.get_future().get() == 1);
  caf::anon_send_exit(asker, caf::exit_reason::user_shutdown);

  const auto link = call.result->link;
  CHECK(link->peer() == link::peer_identity{"coordinator", "c0"});
  CHECK(link->is_open());
  CHECK(link->node() == coordinator.system.node());
  CHECK(link->traffic().bytes_out > 1000);
  CHECK(link->traffic().packets_in > 0);
  CHECK(link->traffic().frames_in >= 2);
}

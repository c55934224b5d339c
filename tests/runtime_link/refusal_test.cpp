// Who is turned away, on which side, and in which words.
#include <sys/socket.h>

#include <boost/asio/ip/tcp.hpp>
#include <catch2/catch.hpp>

#include "base/file.hpp"
#include "link_fixture.hpp"
#include "tests/support/catch_result.hpp"

using namespace link_test;
using base::errc;
using Catch::Matchers::Contains;
namespace asio = boost::asio;
using asio::ip::tcp;

namespace {

// A socket that listens and never says a word.
class silent_listener {
 public:
  std::uint16_t port() const { return acceptor_.local_endpoint().port(); }

 private:
  asio::io_context io_;
  tcp::acceptor acceptor_{io_, tcp::endpoint{asio::ip::address_v4::loopback(), 0}};
};

link::options impatient() {
  auto o = test_options();
  o.handshake_timeout = 300ms;
  return o;
}

}  // namespace

TEST_CASE("a dialer hears why a coordinator does not take it") {
  certificates issued;
  coordinator_side coordinator{issued};
  node_side node;
  const auto refused = [&](const link::credentials& own) {
    auto call = node.dial(coordinator.port, own);
    REQUIRE_FALSE(call.result);
    REQUIRE_FALSE(coordinator.refused(1).empty());
    UNSCOPED_INFO(call.result.error().text() << " / " << coordinator.refused(1).at(0));
    CHECK_FALSE(call.result.error().hint.empty());
    CHECK(coordinator.connections().empty());
    return call.result.error();
  };
  SECTION("its certificate is revoked") {
    coordinator.revoked_names.insert("gpu0");
    const auto why = refused(issued.of("node", "gpu0"));
    CHECK(why.code == errc::permission_denied);
    CHECK_THAT(why.message, Contains("node/gpu0 is revoked"));
  }
  SECTION("its certificate is a coordinator's") {
    CHECK(refused(issued.of("coordinator", "c1")).code == errc::permission_denied);
  }
  SECTION("its certificate has a role that nobody asked for") {
    CHECK(refused(issued.of("friend", "gpu0")).code == errc::permission_denied);
  }
  SECTION("its certificate is of another authority, though it trusts this one") {
    certificates others;
    auto own = others.of("node", "gpu0");
    own.ca = issued.of("node", "gpu0").ca;
    CHECK(refused(own).code == errc::unauthenticated);
  }
  SECTION("the coordinator opens no door") {
    coordinator.gives_doors = false;
    CHECK(refused(issued.of("node", "gpu0")).code == errc::unavailable);
  }
}

TEST_CASE("a dialer turns away whoever is not the coordinator it trusts") {
  certificates issued, others;
  node_side node;
  SECTION("a coordinator of another authority") {
    coordinator_side coordinator{others};
    const auto call = node.dial(coordinator.port, issued.of("node", "gpu0"));
    REQUIRE_FALSE(call.result);
    CHECK(call.result.error().code == errc::unauthenticated);
    CHECK(coordinator.refused(1).size() == 1);
  }
  SECTION("a node's certificate posing as a coordinator's") {
    node_side thief;
    link::acceptor_events events;
    events.make_door = [](const link::connection_ptr&) { return caf::strong_actor_ptr{}; };
    const auto port =
        thief.endpoint->listen("127.0.0.1", 0, issued.of("node", "gpu1"), "node", events).value();
    const auto call = node.dial(port, issued.of("node", "gpu0"));
    REQUIRE_FALSE(call.result);
    CHECK(call.result.error().code == errc::permission_denied);
  }
}

TEST_CASE("two protocol versions refuse each other by name") {
  certificates issued;
  coordinator_side coordinator{issued};
  auto newer = test_options();
  newer.protocol_version = 7;
  node_side node{newer};
  const auto call = node.dial(coordinator.port, issued.of("node", "gpu0"));
  REQUIRE_FALSE(call.result);
  CHECK(call.result.error().code == errc::version_mismatch);
  CHECK_THAT(call.result.error().message, Contains(link_protocol) && Contains("dlls-link/7"));
  CHECK_THAT(coordinator.refused(1).at(0), Contains(link_protocol) && Contains("dlls-link/7"));
}

TEST_CASE("a door that offers less than the dialer needs is a version mismatch") {
  certificates issued;
  coordinator_side coordinator{issued};
  node_side node;
  std::promise<base::result<link::linked>> promise;
  link::dial_request request;
  request.host = "127.0.0.1";
  request.port = coordinator.port;
  request.own = issued.of("node", "gpu0");
  request.want_role = "coordinator";
  request.expected_interface = {"caf::replies_to<something>::with<else>"};
  node.endpoint->dial(request, [&](auto result) { promise.set_value(result); }, {});
  const auto result = promise.get_future().get();
  REQUIRE_FALSE(result);
  CHECK(result.error().code == errc::version_mismatch);
  CHECK(coordinator.closed(1).size() == 1);
}

TEST_CASE("a dial that reaches nobody ends within its time") {
  certificates issued;
  const auto own = issued.of("node", "gpu0");
  node_side node{impatient()};
  SECTION("nobody listens") {
    std::uint16_t port = 0;
    {
      silent_listener was_here;
      port = was_here.port();
    }
    CHECK(node.dial(port, own).result.error().code == errc::unavailable);
  }
  SECTION("somebody listens and says nothing") {
    silent_listener listener;
    const auto why = node.dial(listener.port(), own).result.error();
    CHECK(why.code == errc::deadline_exceeded);
  }
  SECTION("the name does not exist") {
    const auto why = node.dial(1, own, "coordinator", "no.such.name.invalid").result.error();
    CHECK((why.code == errc::unavailable || why.code == errc::deadline_exceeded));
  }
  SECTION("the name is one") {
    coordinator_side coordinator{issued};
    node_side patient;
    CHECK(patient.dial(coordinator.port, own, "coordinator", "localhost").result);
  }
  SECTION("the endpoint ends first") {
    silent_listener listener;
    std::promise<base::result<link::linked>> promise;
    auto patient = std::make_unique<link::endpoint>(node.system, test_options());
    link::dial_request request;
    request.host = "127.0.0.1";
    request.port = listener.port();
    request.own = own;
    patient->dial(request, [&](auto result) { promise.set_value(result); }, {});
    patient.reset();
    CHECK(promise.get_future().get().error().code == errc::cancelled);
  }
}

TEST_CASE("files that are no credentials are named") {
  certificates issued;
  coordinator_side coordinator{issued};
  node_side node;
  auto own = issued.of("node", "gpu0");
  SECTION("missing") {
    own.certificate += ".not-there";
    CHECK(node.dial(coordinator.port, own).result.error().code == errc::not_found);
  }
  SECTION("no PEM at all") {
    own.key = issued.folder.path / "key.txt";
    base::write_file_durably(own.key, "a shopping list", 0600).value();
    const auto why = node.dial(coordinator.port, own).result.error();
    CHECK(why.code == errc::invalid_argument);
    CHECK_THAT(why.message, Contains("key.txt"));
  }
  SECTION("the key of another certificate") {
    own.key = issued.of("node", "gpu1").key;
    CHECK(node.dial(coordinator.port, own).result.error().code == errc::invalid_argument);
  }
}

TEST_CASE("a port or an address that cannot be listened on is said so") {
  certificates issued;
  coordinator_side coordinator{issued};
  const auto own = issued.of("coordinator", "c1");
  link::acceptor_events events;
  events.make_door = [](const link::connection_ptr&) { return caf::strong_actor_ptr{}; };
  const auto listen = [&](const std::string& address, std::uint16_t port) {
    return coordinator.endpoint->listen(address, port, own, "node", events);
  };
  CHECK(listen("127.0.0.1", coordinator.port).error().code == errc::already_exists);
  CHECK(listen("127.0.0.256", 0).error().code == errc::invalid_argument);
  CHECK(listen("localhost", 0).error().code == errc::invalid_argument);
}

// One of these moments is between the handshake and CAF's broker taking the connection over.
TEST_CASE("an endpoint that ends at any moment of a dial ends, and answers the dial") {
  certificates issued;
  coordinator_side coordinator{issued};
  const auto own = issued.of("node", "gpu0");
  for (int i = 0; i < 60; ++i) {
    CAPTURE(i);
    std::promise<void> answered;
    {
      node_side node;
      link::dial_request request;
      request.host = "127.0.0.1";
      request.port = coordinator.port;
      request.own = own;
      request.want_role = "coordinator";
      request.exported = caf::actor_cast<caf::strong_actor_ptr>(node.worker);
      request.expected_interface = node.system.message_types<door_interface>();
      node.endpoint->dial(request, [&](auto) { answered.set_value(); }, {});
      const auto end = std::chrono::steady_clock::now() + std::chrono::microseconds{200 * i};
      while (std::chrono::steady_clock::now() < end) std::this_thread::yield();
    }
    CHECK(answered.get_future().wait_for(patience) == std::future_status::ready);
  }
}

// What a peer with a sound certificate, or none, may try: each closes its own link and no other.
#include <openssl/ssl.h>

#include <catch2/catch.hpp>
#include <cstring>
#include <functional>

#include "raw_peer.hpp"
#include "tests/support/catch_result.hpp"

using namespace link_test;
using Catch::Matchers::Contains;
using operation = caf::io::basp::message_type;

namespace {

// Everything that an attack may know.
struct scene {
  caf::actor_system& system;  // to serialise with
  caf::node_id self;          // the attacker's own node id
  greeting peer;              // the coordinator's node, and the door of this link
  caf::node_id third;         // a node that is not here
};

// A coordinator, a well-behaved node that must notice nothing, and what the attackers use.
class stage {
 public:
  stage() { witness_call_ = witness_.dial(coordinator.port, issued.of("node", "witness")); }

  bool witness_is_answered() {
    return witness_.ask<int>(witness_call_.door(), ping_atom::value, 11).value() == 11;
  }
  raw_options attacker(const std::string& name = "gpu0") {
    return {issued.of("node", name), link_protocol, 0};
  }
  // The reason that the coordinator gave for closing the latest link.
  std::string reason() { return coordinator.closed(1).at(0); }
  caf::node_id witness_node() const { return witness_.system.node(); }

  certificates issued;
  coordinator_side coordinator{issued};
  config settings;
  caf::actor_system forge{settings};

 private:
  node_side witness_;
  node_side::dialed witness_call_;
};

struct attack {
  const char* name;
  const char* reason;  // part of what the coordinator says
  std::function<bytes(const scene&)> made;
};

bytes with_length(bytes made, std::uint32_t length) {
  for (std::size_t i = 0; i < 4; ++i) made[4 + i] = static_cast<char>(length >> (24 - 8 * i));
  return made;
}

bytes ping(const scene& s, std::uint64_t to, std::uint8_t flags = 0) {
  return message_frame(s.system, 7, to, caf::make_message(ping_atom::value, 1), 0, flags);
}

bytes say(const scene& s, caf::message content) {
  return message_frame(s.system, 7, s.peer.door, content);
}

caf::message nested_errors(int depth) {
  auto inner = caf::make_message();
  for (int i = 0; i < depth; ++i)
    inner = caf::make_message(caf::error{1, caf::atom("system"), inner});
  return inner;
}

const std::vector<attack>& messages_to_actors() {
  static const std::vector<attack> all{
      {"kill the door with an exit message", "unlisted type",
       [](auto& s) {
         return say(s, caf::make_message(caf::exit_msg{{}, caf::exit_reason::kill}));
       }},
      {"tell the door that somebody died", "unlisted type",
       [](auto& s) {
         return say(s, caf::make_message(caf::down_msg{{}, caf::exit_reason::kill}));
       }},
      {"link to the door", "unlisted type",
       [](auto& s) {
         return say(s, caf::make_message(caf::link_atom::value, caf::strong_actor_ptr{}));
       }},
      {"send a type that is not on the list", "unlisted type",
       [](auto& s) { return say(s, caf::make_message(std::string("hello"))); }},
      {"send an answer's type as a message", "unlisted type",
       [](auto& s) { return say(s, caf::make_message(std::uint64_t{1})); }},
      {"send an empty message", "unlisted type",
       [](auto& s) { return say(s, caf::make_message()); }},
      {"spawn an actor through SpawnServ", "by name",
       [](auto& s) {
         return message_frame(
             s.system, 7, static_cast<std::uint64_t>(caf::atom("SpawnServ")),
             caf::make_message(
                 caf::spawn_atom::value, std::string("x"), caf::message{}, std::set<std::string>{}),
             1, 1);
       }},
      {"read the configuration through ConfigServ", "by name",
       [](auto& s) {
         return message_frame(
             s.system, 7, static_cast<std::uint64_t>(caf::atom("ConfigServ")),
             caf::make_message(caf::get_atom::value, std::string("*")), 1, 1);
       }},
      {"address actor 1", "not exported", [](auto& s) { return ping(s, 1); }},
      {"address the actor before the door", "not exported",
       [](auto& s) { return ping(s, s.peer.door - 1); }},
      {"address the door of another link", "not exported",
       [](auto& s) { return ping(s, s.peer.door + 1); }},
      {"answer a request that was never made", "no request",
       [](auto& s) {
         return message_frame(
             s.system, 7, s.peer.door, caf::make_message(1), (std::uint64_t{1} << 63) | 1);
       }},
      {"answer with errors within errors", "no request",
       [](auto& s) {
         return message_frame(
             s.system, 7, s.peer.door, nested_errors(500), (std::uint64_t{1} << 63) | 1);
       }},
  };
  return all;
}

const std::vector<attack>& malformed_frames() {
  static const std::vector<attack> all{
      {"put an actor on the message's way back", "stages",
       [](auto& s) {
         auto made = ping(s, s.peer.door);
         made[caf::io::basp::header_size] = 1;
         return made;
       }},
      {"name a message type by number", "malformed",
       [](auto& s) {
         auto made = ping(s, s.peer.door);
         made[caf::io::basp::header_size + 2] = 1;
         return made;
       }},
      {"send an unknown operation", "unknown operation",
       [](auto& s) {
         auto made = ping(s, s.peer.door);
         made[0] = 42;
         return made;
       }},
      {"fill the padding", "padding",
       [](auto& s) {
         auto made = ping(s, s.peer.door);
         made[1] = 1;
         return made;
       }},
      {"send a message without its payload", "without its payload",
       [](auto& s) { return with_length(ping(s, s.peer.door), 0); }},
  };
  return all;
}

const std::vector<attack>& frames() {
  static const std::vector<attack> all{
      {"announce four gibibytes", "4294967295 bytes",
       [](auto& s) { return with_length(ping(s, s.peer.door), 0xFFFF'FFFF); }},
      {"announce one byte too many", "bytes, 1048576 are allowed",
       [](auto& s) { return with_length(ping(s, s.peer.door), (1u << 20) + 1); }},
      {"announce a megabyte of handshake", "are allowed",
       [](auto& s) { return with_length(client_handshake(s.system, s.self), 1u << 20); }},
      {"announce a megabyte of notice", "are allowed",
       [](auto& s) {
         return with_length(
             frame(
                 s.system, operation::down_message, 0, 0, 7, 0, s.self, s.peer.node, caf::error{}),
             1u << 20);
       }},
      {"have a message routed to a third node", "routed",
       [](auto& s) {
         return frame(
             s.system, operation::routed_message, 0, 0, 7, 9, s.self, s.third,
             std::vector<caf::strong_actor_ptr>{}, caf::make_message(1));
       }},
      {"speak for a third node", "routed",
       [](auto& s) {
         return frame(
             s.system, operation::routed_message, 0, 0, 7, s.peer.door, s.third, s.peer.node,
             std::vector<caf::strong_actor_ptr>{}, caf::make_message(ping_atom::value, 1));
       }},
      {"report deaths on a third node", "another node",
       [](auto& s) {
         return frame(
             s.system, operation::down_message, 0, 0, 7, 0, s.third, s.peer.node, caf::error{});
       }},
      {"report a death for a nested reason", "unlisted context",
       [](auto& s) {
         return frame(
             s.system, operation::down_message, 0, 0, 7, 0, s.self, s.peer.node,
             caf::error{1, caf::atom("system"), nested_errors(100)});
       }},
      {"monitor the door for a third node", "another node",
       [](auto& s) {
         return frame(
             s.system, operation::monitor_message, 0, 0, 0, s.peer.door, s.third, s.peer.node);
       }},
      {"monitor an actor that is not exported", "not exported",
       [](auto& s) {
         return frame(s.system, operation::monitor_message, 0, 0, 0, 1, s.self, s.peer.node);
       }},
      {"pose as a server", "server handshake",
       [](auto& s) {
         return frame(
             s.system, operation::server_handshake, 0, 0, 0, 0, s.self,
             std::vector<std::string>{"generic-caf-app"}, std::uint64_t{1},
             std::set<std::string>{});
       }},
      {"change the node id", "another node id",
       [](auto& s) { return client_handshake(s.system, s.third); }},
  };
  return all;
}

void run(const attack& a) {
  INFO("attack: " << a.name);
  stage on;
  raw_peer peer{on.coordinator.port, on.attacker()};
  const auto said = read_greeting(peer, on.forge);
  REQUIRE(said);
  const scene s{on.forge, made_up_node(4711), *said, made_up_node(1)};
  peer.send(client_handshake(on.forge, s.self));
  peer.send(ping(s, s.peer.door));  // sound, so the link stands
  peer.send(a.made(s));
  CHECK(peer.is_closed_by_peer());
  CHECK_THAT(on.reason(), Contains("by the gate") && Contains(a.reason));
  CHECK(on.witness_is_answered());
}

}  // namespace

TEST_CASE("a peer with a certificate reaches no actor but its door, and says nothing unlisted") {
  for (const auto& a : messages_to_actors()) run(a);
}

TEST_CASE("a frame that lies about its size, kind or origin ends the link that it came over") {
  for (const auto& a : malformed_frames()) run(a);
  for (const auto& a : frames()) run(a);
}

TEST_CASE("an answer to a true request is gated like any other message") {
  stage on;
  raw_peer peer{on.coordinator.port, on.attacker()};
  const auto said = read_greeting(peer, on.forge);
  REQUIRE(said);
  peer.send(client_handshake(on.forge, made_up_node(4711)));
  // The door answers a hello by asking its sender, actor 7 of this peer, for a sum.
  peer.send(message_frame(on.forge, 7, said->door, caf::make_message(hello_atom::value), 1));
  const auto asked = read_message(peer);
  REQUIRE(asked);
  REQUIRE(asked->destination == 7);
  const auto answer = [&](const caf::message& content) {
    peer.send(
        message_frame(on.forge, 7, asked->source, content, asked->id | std::uint64_t{1} << 63));
  };
  std::string reason;
  SECTION("errors within errors, which deserialise by recursion") {
    answer(caf::make_message(caf::error{1, caf::atom("system"), nested_errors(500)}));
    reason = "unlisted context";
  }
  SECTION("an answer of a type that is not on the list") {
    answer(caf::make_message(std::vector<std::string>{"x"}));
    reason = "unlisted type";
  }
  SECTION("a second answer") {
    answer(caf::make_message(42));
    answer(caf::make_message(43));
    reason = "no request";
  }
  CHECK(peer.is_closed_by_peer());
  CHECK_THAT(on.reason(), Contains("by the gate") && Contains(reason));
  CHECK(on.witness_is_answered());
}

TEST_CASE("more remote actors than allowed end the link") {
  stage on;
  raw_peer peer{on.coordinator.port, on.attacker()};
  const auto said = read_greeting(peer, on.forge);
  REQUIRE(said);
  peer.send(client_handshake(on.forge, made_up_node(4711)));
  bytes all;
  for (std::uint64_t source = 1; source <= test_options().remote_actors_max + 1; ++source) {
    const auto one =
        message_frame(on.forge, source, said->door, caf::make_message(ping_atom::value, 1));
    all.insert(all.end(), one.begin(), one.end());
  }
  peer.send(all);
  CHECK(peer.is_closed_by_peer());
  CHECK_THAT(on.reason(), Contains("actors that write to us"));
  CHECK(on.witness_is_answered());
}

TEST_CASE("nothing passes before CAF's handshake, and no false name passes within it") {
  stage on;
  raw_peer peer{on.coordinator.port, on.attacker()};
  const auto said = read_greeting(peer, on.forge);
  REQUIRE(said);
  const scene s{on.forge, made_up_node(4711), *said, made_up_node(1)};
  std::string reason;
  SECTION("a message first") {
    peer.send(ping(s, s.peer.door));
    reason = "before the handshake";
  }
  SECTION("the coordinator's own node id") {
    peer.send(client_handshake(on.forge, said->node));
    reason = "without a node id of its own";
  }
  SECTION("the node id of a peer that is linked") {
    peer.send(client_handshake(on.forge, on.witness_node()));
    reason = "node/gpu0 claims the node id of node/witness";
  }
  CHECK(peer.is_closed_by_peer());
  CHECK_THAT(on.reason(), Contains(reason));
  CHECK(on.witness_is_answered());
}

TEST_CASE("whoever has no certificate for the role gets no byte of CAF") {
  stage on;
  certificates others;
  raw_options o = on.attacker();
  std::string reason;
  SECTION("no certificate") {
    o.own = {};
    reason = "shows no certificate";
  }
  SECTION("a certificate of another authority") {
    o.own = others.of("node", "gpu0");
    reason = "unauthenticated";
  }
  SECTION("a coordinator's certificate") {
    o.own = on.issued.of("coordinator", "c1");
    reason = "permission_denied";
  }
  SECTION("TLS 1.2") {
    o.tls_max = TLS1_2_VERSION;
    reason = "TLS 1.3";
  }
  SECTION("another protocol over TLS") {
    o.protocol = "http/1.1";
    reason = "no DLLS protocol";
  }
  SECTION("enrolment, where there is none") {
    o.protocol = "dlls-join/1";
    reason = "no DLLS protocol";
  }
  raw_peer peer{on.coordinator.port, o};
  CHECK(peer.is_closed_by_peer());
  CHECK_THAT(on.coordinator.refused(1).at(0), Contains(reason));
  CHECK(on.coordinator.connections().size() == 1);
  CHECK(on.witness_is_answered());
}

TEST_CASE("plain text on the port is refused as no TLS") {
  stage on;
  raw_peer peer{on.coordinator.port, {{}, "", 0}};
  peer.send_plain("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  CHECK(peer.is_closed_by_peer());
  CHECK_THAT(on.coordinator.refused(1).at(0), Contains("TLS"));
  CHECK(on.witness_is_answered());
}

TEST_CASE("a peer that falls silent before its handshake is done is dropped in time") {
  certificates issued;
  auto impatient = test_options();
  impatient.handshake_timeout = 300ms;
  coordinator_side coordinator{issued, impatient};
  SECTION("at once") {
    raw_peer peer{coordinator.port, {{}, "", 0}};
    CHECK(peer.is_closed_by_peer());
    CHECK_THAT(coordinator.refused(1).at(0), Contains("deadline_exceeded"));
  }
  SECTION("after TLS") {
    raw_peer peer{coordinator.port, {issued.of("node", "gpu0"), link_protocol, 0}};
    CHECK(peer.is_closed_by_peer());
    CHECK_THAT(coordinator.closed(1).at(0), Contains("no handshake of CAF"));
  }
}

TEST_CASE("a crowd of half-open connections is bounded, and lets the next one in when it leaves") {
  certificates issued;
  auto few = test_options();
  few.handshakes_max = 3;
  coordinator_side coordinator{issued, few};
  {
    std::vector<std::unique_ptr<raw_peer>> crowd;
    for (int i = 0; i < 3; ++i)
      crowd.push_back(std::make_unique<raw_peer>(coordinator.port, raw_options{{}, "", 0}));
    raw_peer late{coordinator.port, {{}, "", 0}};
    CHECK(late.is_closed_by_peer());
    CHECK_THAT(coordinator.refused(1).at(0), Contains("too many handshakes"));
  }
  CHECK(coordinator.refused(4).size() == 4);  // the crowd has been seen to leave
  node_side node;
  CHECK(node.dial(coordinator.port, issued.of("node", "gpu0")).result);
}

TEST_CASE("one silent address does not keep the others out") {
  certificates issued;
  auto few = test_options();
  few.handshakes_per_address_max = 3;
  coordinator_side coordinator{issued, few};
  const raw_options silent{{}, "", 0, INADDR_LOOPBACK + 1};
  std::vector<std::unique_ptr<raw_peer>> crowd;
  for (int i = 0; i < 3; ++i) crowd.push_back(std::make_unique<raw_peer>(coordinator.port, silent));
  raw_peer late{coordinator.port, silent};
  CHECK(late.is_closed_by_peer());
  node_side node;
  CHECK(node.dial(coordinator.port, issued.of("node", "gpu0")).result);
}

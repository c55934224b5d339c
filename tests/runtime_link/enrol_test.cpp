// Joining: tokens, certificates, and who is told what when it goes wrong.
#include <catch2/catch.hpp>
#include <filesystem>
#include <map>

#include "base/file.hpp"
#include "base/sha256.hpp"
#include "raw_peer.hpp"
#include "tests/support/catch_result.hpp"

using namespace link_test;
using base::errc;
using Catch::Matchers::Contains;
using Catch::Matchers::StartsWith;

namespace {

// A ledger of tokens, as small as it gets.
class token_book {
 public:
  enum class state { fresh, used, expired };

  link::join_token issue(const link::authority& ca, state as = state::fresh) {
    auto token = link::join_token::make(ca);
    std::lock_guard lock{mutex_};
    tokens_[token.secret_hash()] = as;
    return token;
  }
  base::result<> redeem(const std::string& hash, const std::string& name) {
    std::lock_guard lock{mutex_};
    ++asked_;
    const auto found = tokens_.find(hash);
    if (found == tokens_.end())
      return base::error{errc::unauthenticated, "no such token", "run `dlls enroll` for one"};
    if (found->second != state::fresh)
      return base::error{errc::unauthenticated, "the token is used or expired", "get a new one"};
    if (name == "taken") return base::error{errc::already_exists, "there is a node 'taken'", "x"};
    found->second = state::used;
    return {};
  }
  int asked() const {
    std::lock_guard lock{mutex_};
    return asked_;
  }

 private:
  mutable std::mutex mutex_;
  std::map<std::string, state> tokens_;
  int asked_ = 0;
};

struct enrolment_scene {
  enrolment_scene() : coordinator(issued, test_options(), enrolment()) {}

  link::enrolment enrolment() {
    link::enrolment e;
    e.signer = issued.authority;
    e.redeem = [this](
                   const std::string& hash, const std::string& name, const std::string& certificate,
                   const auto& done) {
      fingerprint = certificate;
      // From another thread, as a ledger's writer would.
      std::thread{[this, hash, name, done] { done(book.redeem(hash, name)); }}.detach();
    };
    return e;
  }
  base::result<link::credentials> join(const link::join_token& token, std::string name = "gpu0") {
    return link::join("127.0.0.1", coordinator.port, token, home.path / "node", name, patience);
  }
  bool nothing_was_stored() const { return !std::filesystem::exists(home.path / "node/ca.pem"); }

  token_book book;
  std::string fingerprint;
  certificates issued;
  temporary_folder home;
  coordinator_side coordinator;
};

std::string record(const std::vector<std::string>& fields) {
  std::string body;
  for (const auto& f : fields) {
    body += static_cast<char>(f.size() >> 8);
    body += static_cast<char>(f.size() & 0xFF);
    body += f;
  }
  std::string head(4, '\0');
  for (std::size_t i = 0; i < 4; ++i) head[i] = static_cast<char>(body.size() >> (24 - 8 * i));
  return head + body;
}

}  // namespace

TEST_CASE("a token turns into a certificate that links, once") {
  enrolment_scene on;
  const auto token = on.book.issue(*on.issued.authority);
  const auto own = on.join(token);
  REQUIRE(own);
  CHECK(own->certificate == on.home.path / "node/gpu0.pem");
  const auto mode = std::filesystem::status(own->certificate).permissions();
  CHECK(
      (mode & std::filesystem::perms::all) ==
      (std::filesystem::perms::owner_read | std::filesystem::perms::owner_write));

  node_side node;
  auto call = node.dial(on.coordinator.port, *own);
  REQUIRE(call.result);
  CHECK(node.ask<int>(call.door(), ping_atom::value, 4).value() == 4);
  const auto there = on.coordinator.connections().at(0);
  CHECK(there->peer() == link::peer_identity{"node", "gpu0"});
  // What the redeemer was shown is the certificate that now links.
  CHECK(there->fingerprint() == on.fingerprint);

  const auto again = on.join(token, "gpu1");
  REQUIRE_FALSE(again);
  CHECK(again.error().code == errc::unauthenticated);
}

TEST_CASE("a token that is not good any more gets an error that says what to do") {
  enrolment_scene on;
  const auto& ca = *on.issued.authority;
  link::join_token token;
  SECTION("used") { token = on.book.issue(ca, token_book::state::used); }
  SECTION("expired") { token = on.book.issue(ca, token_book::state::expired); }
  SECTION("never issued") { token = link::join_token::make(ca); }
  const auto joined = on.join(token);
  REQUIRE_FALSE(joined);
  CHECK(joined.error().code == errc::unauthenticated);
  CHECK_FALSE(joined.error().hint.empty());
  CHECK_THAT(on.coordinator.refused(1).at(0), Contains("unauthenticated"));
  CHECK(on.nothing_was_stored());
}

TEST_CASE("a name that is taken, or is none, costs no token") {
  enrolment_scene on;
  const auto token = on.book.issue(*on.issued.authority);
  CHECK(on.join(token, "taken").error().code == errc::already_exists);
  CHECK(on.join(token, "../../etc").error().code == errc::invalid_argument);
  CHECK(on.join(token, "gpu0"));
}

TEST_CASE("a coordinator that the token does not name hears nothing of it") {
  enrolment_scene on;
  certificates others;
  const auto token = on.book.issue(*others.authority);
  const auto joined = on.join(token);
  REQUIRE_FALSE(joined);
  CHECK(joined.error().code == errc::permission_denied);
  CHECK_THAT(joined.error().message, Contains("not the one the token names"));
  CHECK(on.coordinator.refused(1).size() == 1);
  CHECK(on.book.asked() == 0);
  CHECK(on.nothing_was_stored());
}

TEST_CASE("a node's certificate cannot answer for the coordinator") {
  enrolment_scene on;
  node_side thief;
  link::acceptor_events events;
  events.make_door = [](const link::connection_ptr&) { return caf::strong_actor_ptr{}; };
  const auto port =
      thief.endpoint
          ->listen("127.0.0.1", 0, on.issued.of("node", "gpu9"), "node", events, on.enrolment())
          .value();
  const auto token = on.book.issue(*on.issued.authority);
  const auto joined = link::join("127.0.0.1", port, token, on.home.path / "node", "gpu0", patience);
  CHECK(joined.error().code == errc::permission_denied);
  CHECK(on.book.asked() == 0);
}

TEST_CASE("a request to join that is too large, or garbage, is refused before any token is asked") {
  enrolment_scene on;
  raw_peer peer{on.coordinator.port, {{}, "dlls-join/1", 0}};
  REQUIRE(peer.handshake_done());
  std::string sent, reason;
  SECTION("too large") {
    sent = record({std::string(9000, 'x')});
    reason = "resource_exhausted";
  }
  SECTION("a length of four gibibytes") {
    sent = std::string(4, '\xFF');
    reason = "resource_exhausted";
  }
  SECTION("lengths that do not fit") {
    sent = record({"secret", "gpu0", "csr"});
    sent[5] = '\x7F';
    reason = "corrupt";
  }
  SECTION("too few fields") {
    sent = record({"secret", "gpu0"});
    reason = "invalid_argument";
  }
  SECTION("a name that is a path") {
    sent = record({"secret", "../x", link::make_certificate_request().der});
    reason = "invalid_argument";
  }
  SECTION("a certificate request that is none") {
    sent = record({"secret", "gpu0", "Dear sir or madam"});
    reason = "invalid_argument";
  }
  SECTION("a certificate request whose signature is broken") {
    auto der = link::make_certificate_request().der;
    der.back() ^= 1;
    sent = record({"secret", "gpu0", der});
    reason = "invalid_argument";
  }
  peer.send({sent.begin(), sent.end()});
  CHECK(peer.is_closed_by_peer());
  CHECK_THAT(on.coordinator.refused(1).at(0), Contains(reason));
  CHECK(on.book.asked() == 0);
  CHECK(on.coordinator.connections().empty());
}

TEST_CASE("a redeemer that never answers does not hold the endpoint") {
  certificates issued;
  temporary_folder home;
  link::enrolment silent;
  silent.signer = issued.authority;
  std::promise<std::function<void(base::result<>)>> asked;
  silent.redeem = [&](auto, auto, auto, auto done) { asked.set_value(std::move(done)); };
  auto coordinator = std::make_unique<coordinator_side>(issued, test_options(), silent);
  const auto token = link::join_token::make(*issued.authority);
  auto joined = std::async(std::launch::async, [&, port = coordinator->port] {
    return link::join("127.0.0.1", port, token, home.path / "node", "gpu0", patience);
  });
  auto done = asked.get_future().get();
  coordinator.reset();
  done({});  // late, from another thread, to nobody
  CHECK(joined.get().error().code == errc::unavailable);
}

TEST_CASE("a token survives being written and read, and nothing else passes for one") {
  certificates issued;
  const auto token = link::join_token::make(*issued.authority);
  CHECK_THAT(token.text(), StartsWith("dlls-join."));
  const auto read = link::join_token::parse("  " + token.text() + "\r\n");
  REQUIRE(read);
  CHECK(read->secret == token.secret);
  CHECK(read->ca_fingerprint == issued.authority->fingerprint());
  CHECK(token.secret_hash() == base::sha256_hex(token.secret));
  auto altered = token.text();
  altered[12] = '+';
  for (const auto& text :
       {std::string{}, std::string{"dlls-join."}, token.text() + "0", token.text().substr(1),
        altered, std::string(109 + 10, '.')}) {
    INFO(text);
    CHECK(link::join_token::parse(text).error().code == errc::invalid_argument);
  }
}

TEST_CASE("an authority is made once, opened again, and never mixed up") {
  temporary_folder home;
  const auto folder = home.path / "ca";
  const auto first = link::authority::open_or_create(folder);
  REQUIRE(first);
  CHECK(link::authority::create(folder).error().code == errc::already_exists);
  const auto again = link::authority::open_or_create(folder);
  REQUIRE(again);
  CHECK((*again)->fingerprint() == (*first)->fingerprint());
  CHECK(link::fingerprint_of((*first)->certificate()).value() == (*first)->fingerprint());

  const auto own = (*first)->coordinator("c0").value();
  const auto before = base::read_file(own.certificate).value();
  CHECK((*again)->coordinator("c0"));
  CHECK(base::read_file(own.certificate).value() == before);  // kept
  CHECK((*again)->coordinator("c1"));
  CHECK(base::read_file(own.certificate).value() != before);  // another name

  std::filesystem::remove(folder / "ca.key");
  const auto other = link::authority::create(home.path / "other").value();
  std::filesystem::copy_file(home.path / "other/ca.key", folder / "ca.key");
  CHECK(link::authority::open(folder).error().code == errc::corrupt);
  CHECK(link::authority::open(home.path / "none").error().code == errc::not_found);
}

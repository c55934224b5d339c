#include "link_fixture.hpp"

#include <catch2/catch.hpp>

#include "base/file.hpp"

namespace link_test {

certificates::certificates() { authority = link::authority::create(folder.path / "ca").value(); }

link::credentials certificates::of(const std::string& role, const std::string& name) {
  const auto request = link::make_certificate_request();
  const auto path = folder.path / (role + "-" + name + ".pem");
  const auto pem = authority->sign(request.der, {role, name}).value();
  base::write_file_durably(path, pem + request.key_pem, 0600).value();
  return {path, path, folder.path / "ca" / "ca.pem"};
}

link::options test_options() {
  link::options o;
  o.rules.allow_interface<door_interface>()
      .allow_interface<node_interface>()
      .allow_interface<stream_interface>();
  return o;
}

void flag::raise() {
  std::lock_guard lock{mutex_};
  is_raised_ = true;
  raised_.notify_all();
}

bool flag::wait() const {
  std::unique_lock lock{mutex_};
  return raised_.wait_for(lock, patience, [this] { return is_raised_; });
}

namespace {

// CAF 0.17 binds a reference to a null tuple when a function-based actor has no argument, which
// UBSan rightly reports: these have one.
struct no_argument {};

// One per link. `hello` makes it call the sender back, through nothing but its proxy.
door_interface::behavior_type door(door_interface::pointer self, no_argument) {
  return {
      [](ping_atom, int x) { return x; },
      [](const chunk& c) { return c.offset + c.bytes.size(); },
      [self](hello_atom) {
        // In this order: a promise takes the sender along.
        const auto peer = caf::actor_cast<node_interface>(self->current_sender());
        auto answer = self->make_response_promise<int>();
        self->request(peer, caf::infinite, add_atom::value, 40, 2)
            .then(
                [answer](int sum) mutable { answer.deliver(sum); },
                [answer](caf::error& why) mutable { answer.deliver(std::move(why)); });
        return answer;
      },
      [self](hang_atom) {
        // Answered never: the promise lives on in an unreachable corner of this actor.
        auto held = self->make_response_promise<int>();
        self->attach_functor([held] {});
        return held;
      },
      [](fail_atom) -> caf::result<int> {
        return caf::make_error(caf::sec::runtime_error, std::string("as asked"));
      },
      [](large_atom, int size) { return std::string(static_cast<std::size_t>(size), 'x'); },
  };
}

worker_interface::behavior_type worker_of_node(worker_interface::pointer self, no_argument) {
  return {
      [](add_atom, int a, int b) { return a + b; },
      [self](greet_atom, const door_interface& to) {
        auto answer = self->make_response_promise<int>();
        self->request(to, caf::infinite, hello_atom::value)
            .then(
                [answer](int sum) mutable { answer.deliver(sum); },
                [answer](caf::error& why) mutable { answer.deliver(std::move(why)); });
        return answer;
      },
  };
}

}  // namespace

coordinator_side::coordinator_side(
    certificates& from, link::options opts, std::optional<link::enrolment> enrolment)
    : endpoint(std::make_unique<link::endpoint>(system, std::move(opts))) {
  port =
      endpoint
          ->listen(
              "127.0.0.1", 0, from.of("coordinator", "c0"), "node", events(), std::move(enrolment))
          .value();
}

coordinator_side::~coordinator_side() { endpoint.reset(); }

link::acceptor_events coordinator_side::events() {
  link::acceptor_events e;
  e.make_door = [this](link::connection_ptr link) -> caf::strong_actor_ptr {
    std::lock_guard lock{mutex};
    if (!gives_doors) return nullptr;
    connections_.push_back(std::move(link));
    return caf::actor_cast<caf::strong_actor_ptr>(system.spawn(door, no_argument{}));
  };
  e.closed = [this](link::connection_ptr, std::string reason) {
    std::lock_guard lock{mutex};
    closed_.push_back(std::move(reason));
    changed_.notify_all();
  };
  e.refused = [this](std::string reason) {
    std::lock_guard lock{mutex};
    refused_.push_back(std::move(reason));
    changed_.notify_all();
  };
  e.revoked = [this](const link::peer_identity& who, const std::string& fingerprint) {
    std::lock_guard lock{mutex};
    return fingerprint.size() == 64 && revoked_names.contains(who.name);
  };
  return e;
}

std::vector<std::string> coordinator_side::closed(std::size_t count) {
  std::unique_lock lock{mutex};
  changed_.wait_for(lock, patience, [&] { return closed_.size() >= count; });
  return closed_;
}

std::vector<std::string> coordinator_side::refused(std::size_t count) {
  std::unique_lock lock{mutex};
  changed_.wait_for(lock, patience, [&] { return refused_.size() >= count; });
  return refused_;
}

std::vector<link::connection_ptr> coordinator_side::connections() {
  std::lock_guard lock{mutex};
  return connections_;
}

node_side::node_side(link::options opts)
    : worker(system.spawn(worker_of_node, no_argument{})),
      endpoint(std::make_unique<link::endpoint>(system, std::move(opts))) {}

node_side::~node_side() {
  endpoint.reset();
  caf::anon_send_exit(worker, caf::exit_reason::user_shutdown);
}

door_interface node_side::dialed::door() const {
  return caf::actor_cast<door_interface>(result.value().remote_door);
}

node_side::dialed node_side::dial(
    std::uint16_t port, const link::credentials& own, std::string want_role, std::string host) {
  link::dial_request request;
  request.host = std::move(host);
  request.port = port;
  request.own = own;
  request.want_role = std::move(want_role);
  request.exported = caf::actor_cast<caf::strong_actor_ptr>(worker);
  request.expected_interface = system.message_types<door_interface>();
  auto promise = std::make_shared<std::promise<base::result<link::linked>>>();
  auto answer = promise->get_future();
  dialed call;
  endpoint->dial(
      std::move(request),
      [promise](base::result<link::linked> result) { promise->set_value(std::move(result)); },
      [closed = call.closed](const std::string&) { closed->raise(); });
  REQUIRE(answer.wait_for(patience) == std::future_status::ready);
  call.result = answer.get();
  return call;
}

}  // namespace link_test

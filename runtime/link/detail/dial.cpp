// The dialing side, up to the hand-over to CAF and the answer to whoever dialed.
#include <fmt/core.h>

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>

#include "base/log.hpp"
#include "runtime/link/detail/core.hpp"

namespace dlls::runtime::link::detail {

using base::errc;
using base::error;

namespace {

// The promise to answer: one result, and after a good one at most one end. Endpoint's thread.
class dialing {
 public:
  dialing(
      dial_request what, std::function<void(base::result<linked>)> done,
      std::function<void(std::string)> on_closed)
      : request(std::move(what)),
        where_(fmt::format("{}:{}", request.host, request.port)),
        done_(std::move(done)),
        on_closed_(std::move(on_closed)) {}
  dialing(const dialing&) = delete;
  ~dialing() { fail({errc::cancelled, "the endpoint has ended"}); }

  void succeed(linked with) {
    if (const auto done = std::exchange(done_, nullptr)) {
      linked_ = true;
      done(std::move(with));
    }
  }
  void fail(error why) {
    const auto done = std::exchange(done_, nullptr);
    if (!done) return;
    why.message = fmt::format("{}: {}", where_, why.message);
    done(std::move(why));
  }
  void end(const std::string& reason) {
    fail({errc::unavailable, reason});
    if (const auto on_closed = std::exchange(on_closed_, nullptr); on_closed && linked_)
      on_closed(reason);
  }

  const dial_request request;

 private:
  const std::string where_;
  std::function<void(base::result<linked>)> done_;
  std::function<void(std::string)> on_closed_;
  bool linked_ = false;
};

void on_linked(
    dialing& call, const std::shared_ptr<link_state>& link, caf::strong_actor_ptr door,
    const std::set<std::string>& interface) {
  const auto& expected = call.request.expected_interface;
  if (!std::ranges::includes(interface, expected) || (!door && !expected.empty())) {
    call.fail(
        {errc::version_mismatch, fmt::format("{} offers another interface", link->peer().text()),
         "install the same version of DLLS on both machines"});
    link->close("the peer offers another interface");
    return;
  }
  call.succeed({link, std::move(door)});
}

handover_ptr prepare_dialed(
    core& c, const std::shared_ptr<conversation>& talk, const std::shared_ptr<dialing>& call) {
  const auto link = c.adopt(talk->tls());
  auto prepared = c.prepare(talk, link);
  prepared->local = call->request.exported;
  prepared->linked = [self = c.shared_from_this(), call, link](
                         const caf::node_id&, caf::strong_actor_ptr door,
                         std::set<std::string> interface) {
    self->post([=] { on_linked(*call, link, door, interface); });
  };
  prepared->closed = [self = c.shared_from_this(), call, link](std::string reason) {
    self->post([=] {
      base::log_info("link", "{} has closed: {}", link->id(), reason);
      self->forget(link);
      call->end(reason);
    });
  };
  return prepared;
}

asio::awaitable<void> call_peer(
    std::shared_ptr<core> c, std::shared_ptr<SSL_CTX> context, std::shared_ptr<dialing> call) {
  auto talk = std::make_shared<conversation>(tcp::socket{c->io()});
  talk->start_deadline(c->opts().handshake_timeout);
  if (auto there = co_await talk->connect(call->request.host, call->request.port); !there) {
    call->fail(there.error());
    co_return;
  }
  auto rules = std::make_shared<tls_rules>();
  rules->peer_role = call->request.want_role;
  rules->version = c->opts().protocol_version;
  if (auto shaken = co_await talk->handshake(context, rules, false); !shaken) {
    call->fail(shaken.error());
    co_return;
  }
  auto greeting = co_await talk->read_record(greeting_bytes_max);
  talk->stop_deadline();
  if (!greeting)
    call->fail(greeting.error());
  else if (!greeting->empty())
    call->fail(read_refusal(*greeting));
  else
    c->hand_over(prepare_dialed(*c, talk, call), talk);
}

}  // namespace

void core::dial(
    dial_request request, std::function<void(base::result<linked>)> done,
    std::function<void(std::string)> on_closed) {
  auto call = std::make_shared<dialing>(std::move(request), std::move(done), std::move(on_closed));
  post([self = shared_from_this(), call = std::move(call)] {
    auto context = link_context(call->request.own);
    if (!context) return call->fail(context.error());
    asio::co_spawn(self->io(), call_peer(self, *context, call), asio::detached);
  });
}

}  // namespace dlls::runtime::link::detail

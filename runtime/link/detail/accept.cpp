// The listening side, up to the hand-over to CAF.
#include <fmt/core.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <caf/abstract_actor.hpp>
#include <caf/actor_system.hpp>
#include <caf/send.hpp>

#include "base/check.hpp"
#include "base/log.hpp"
#include "runtime/link/detail/core.hpp"
#include "runtime/link/detail/join_server.hpp"

namespace dlls::runtime::link::detail {

using base::errc;
using base::error;

namespace {

constexpr auto tuple = asio::as_tuple(asio::use_awaitable);
constexpr std::chrono::milliseconds accept_again_after{100};

struct handshake_count {
  std::shared_ptr<core> owner;
  std::string address;
  handshake_count(std::shared_ptr<core> c, std::string a)
      : owner(std::move(c)), address(std::move(a)) {}
  handshake_count(const handshake_count&) = delete;
  ~handshake_count() { owner->end_handshake(address); }
};

void report(const listener& to, std::string who, const error& why) {
  const auto reason = fmt::format("{}: {}", who, why.text());
  if (to.events.refused)
    to.events.refused(reason);
  else
    base::log_info("link", "refused {}", reason);
}

// What keeps a peer with a sound certificate out; ok when nothing does.
error objection(const core& c, const listener& to, const session& tls) {
  if (tls.wanted() == purpose::other_version)
    return {
        errc::version_mismatch,
        fmt::format(
            "this side speaks {}, the peer {}", link_protocol(c.opts().protocol_version),
            tls.peer_version()),
        "install the same version of DLLS on both machines"};
  if (to.events.revoked && to.events.revoked(tls.peer(), tls.fingerprint()))
    return {
        errc::permission_denied, fmt::format("the certificate of {} is revoked", tls.peer().text()),
        "run `dlls enroll` on the coordinator and `dlls node --rejoin` there with the new token"};
  return {errc::ok, {}};
}

// The door and the hand-over; null, and nothing left behind, when make_door gives none.
handover_ptr open_door(
    core& c, const std::shared_ptr<const listener>& to, const std::shared_ptr<conversation>& talk) {
  const auto link = c.adopt(talk->tls());
  auto door = to->events.make_door(link);
  if (!door) {
    link->ends("no door");
    c.forget(link);
    return nullptr;
  }
  auto prepared = c.prepare(talk, link);
  prepared->local = door;
  prepared->interface = door->get()->message_types();
  prepared->closed = [self = c.shared_from_this(), to, link, door](std::string reason) {
    self->post([=] {
      base::log_info("link", "{} has closed: {}", link->id(), reason);
      self->forget(link);
      if (to->events.closed) to->events.closed(link, reason);
      caf::anon_send_exit(caf::actor_cast<caf::actor>(door), caf::exit_reason::user_shutdown);
    });
  };
  return prepared;
}

asio::awaitable<void> greet(
    std::shared_ptr<core> c, std::shared_ptr<const listener> to, std::shared_ptr<conversation> talk,
    std::string address) {
  const handshake_count counted{c, std::move(address)};
  const auto remote = talk->remote();
  talk->start_deadline(c->opts().handshake_timeout);
  auto shaken = co_await talk->handshake(to->context, to->rules, true);
  if (!shaken) {
    report(*to, remote, shaken.error());
    if (!talk->is_late()) co_await talk->linger();
    co_return;
  }
  if (talk->tls()->wanted() == purpose::join) {
    poster post = [weak = std::weak_ptr(c)](std::function<void()> what) {
      if (const auto alive = weak.lock()) alive->post_from_outside(std::move(what));
    };
    auto joined = co_await serve_join(talk, to->join, std::move(post));
    if (!joined) report(*to, remote, joined.error());
    if (!talk->is_late()) co_await talk->linger();
    co_return;
  }
  error refused = objection(*c, *to, *talk->tls());
  handover_ptr prepared;
  if (refused.code == errc::ok) {
    prepared = open_door(*c, to, talk);
    if (!prepared)
      refused = {errc::unavailable, "the coordinator takes no links now", "try again later"};
  }
  const std::string greeting = write_record(prepared ? fields{} : refusal(refused));
  auto written = co_await talk->write(greeting);
  if (!prepared) {
    report(*to, fmt::format("{} ({})", talk->tls()->peer().text(), remote), refused);
    co_await talk->linger();
    co_return;
  }
  talk->stop_deadline();
  if (!written)
    prepared->state->ends(written.error().message);  // `closed` follows as it is dropped
  else
    c->hand_over(std::move(prepared), talk);
}

asio::awaitable<void> accept_all(
    std::shared_ptr<core> c, std::shared_ptr<tcp::acceptor> acceptor,
    std::shared_ptr<const listener> to) {
  asio::steady_timer pause{acceptor->get_executor()};
  while (acceptor->is_open()) {
    auto [failed, socket] = co_await acceptor->async_accept(tuple);
    if (!acceptor->is_open()) break;
    if (failed) {  // out of descriptors, most likely: those in use come back
      base::log_warning("link", "accept: {}", failed.message());
      pause.expires_after(accept_again_after);
      co_await pause.async_wait(tuple);
      continue;
    }
    auto talk = std::make_shared<conversation>(std::move(socket));
    const auto address = talk->remote_address();
    if (!c->begin_handshake(address)) {
      report(*to, talk->remote(), {errc::resource_exhausted, "too many handshakes at a time"});
      continue;
    }
    asio::co_spawn(
        acceptor->get_executor(), greet(c, to, std::move(talk), address), asio::detached);
  }
}

error address_error(const boost::system::error_code& why, const std::string& where) {
  const auto text = fmt::format("cannot listen on {}: {}", where, why.message());
  if (why == asio::error::address_in_use)
    return {errc::already_exists, text, "another program has the port: stop it, or use another"};
  if (why == asio::error::access_denied)
    return {errc::permission_denied, text, "ports below 1024 are for privileged programs"};
  return {errc::io, text};
}

}  // namespace

base::result<std::uint16_t> core::listen(
    const std::string& address, std::uint16_t port, std::shared_ptr<const listener> what) {
  boost::system::error_code failed;
  const auto ip = asio::ip::make_address(address, failed);
  if (failed)
    return error{
        errc::invalid_argument, fmt::format("'{}' is not an IP address", address),
        "127.0.0.1, 0.0.0.0 and :: are"};
  const tcp::endpoint end{ip, port};
  const auto where = fmt::format("{} port {}", address, port);
  auto acceptor = std::make_shared<tcp::acceptor>(*io_);
  acceptor->open(end.protocol(), failed);
  if (!failed) acceptor->set_option(tcp::acceptor::reuse_address(true), failed);
  if (!failed) acceptor->bind(end, failed);
  if (!failed) acceptor->listen(tcp::acceptor::max_listen_connections, failed);
  if (failed) return address_error(failed, where);
  const auto bound = acceptor->local_endpoint().port();
  post([self = shared_from_this(), acceptor, what = std::move(what)] {
    self->acceptors_.push_back(acceptor);
    asio::co_spawn(acceptor->get_executor(), accept_all(self, acceptor, what), asio::detached);
  });
  return bound;
}

}  // namespace dlls::runtime::link::detail

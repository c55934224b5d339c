#include "runtime/link/detail/core.hpp"

#include <fmt/core.h>
#include <pthread.h>

#include <caf/actor_registry.hpp>
#include <caf/actor_system.hpp>
#include <caf/send.hpp>

#include "base/check.hpp"
#include "base/log.hpp"

namespace dlls::runtime::link::detail {

core::core(caf::actor_system& system, options opts)
    : system_(system),
      opts_(std::move(opts)),
      allowed_(std::make_shared<const gate_rules::texts>(opts_.rules.resolve(system))),
      io_(std::make_unique<asio::io_context>(1)) {}

void core::start() {
  base::check(system_.has_middleman(), "links need an actor system with CAF's middleman loaded");
  system_.registry().erase(caf::atom("SpawnServ"));
  system_.registry().erase(caf::atom("ConfigServ"));
  broker_ = start_broker(system_);
  work_.emplace(io_->get_executor());
  thread_ = std::thread([this] {
    ::pthread_setname_np(::pthread_self(), "dlls-link");
    io_->run();
  });
}

void core::stop() {
  post([this] {
    boost::system::error_code ignored;
    for (auto& acceptor : acceptors_) acceptor->close(ignored);
  });
  stop_broker(system_, broker_);
  // Behind everything that the broker has reported.
  post([this] { io_->stop(); });
  thread_.join();
  thread_ended_ = true;
  work_.reset();
  acceptors_.clear();
  {
    // Destroyed after the lock is given back: with the broker goes its mailbox, and a link in there
    // that it never took over says through `forget` that it has ended.
    caf::actor broker;
    std::map<peer_identity, std::shared_ptr<link_state>> links;
    std::lock_guard lock{mutex_};
    broker.swap(broker_);
    links.swap(links_);
  }
  io_.reset();  // destroys what still waits: each says `cancelled` where it owes an answer
}

void core::post_from_outside(std::function<void()> what) {
  std::lock_guard lock{mutex_};
  if (broker_) asio::post(*io_, std::move(what));
}

std::shared_ptr<link_state> core::adopt(const std::shared_ptr<session>& tls) {
  auto link = std::make_shared<link_state>(tls, [weak = weak_from_this()](std::uint64_t epoch) {
    if (const auto self = weak.lock()) self->order_close(epoch);
  });
  std::shared_ptr<link_state> older;
  {
    std::lock_guard lock{mutex_};
    older = std::exchange(links_[link->peer()], link);
  }
  if (older) older->close(fmt::format("replaced by a newer link of {}", link->peer().text()));
  return link;
}

void core::forget(const std::shared_ptr<link_state>& link) {
  std::lock_guard lock{mutex_};
  const auto found = links_.find(link->peer());
  if (found != links_.end() && found->second == link) links_.erase(found);
}

void core::order_close(std::uint64_t epoch) {
  std::lock_guard lock{mutex_};
  if (broker_) caf::anon_send(broker_, close_order{epoch});
}

gate::verdict core::bind(const std::shared_ptr<link_state>& link, const caf::node_id& node) {
  std::lock_guard lock{mutex_};
  for (const auto& [peer, other] : links_)
    if (peer != link->peer() && other->is_open() && other->node() == node)
      return fmt::format("{} claims the node id of {}", link->peer().text(), peer.text());
  link->bind(node);
  return std::nullopt;
}

handover_ptr core::prepare(
    const std::shared_ptr<conversation>& talk, const std::shared_ptr<link_state>& link) {
  auto prepared = std::make_shared<handover>();
  prepared->state = link;
  prepared->tls = talk->tls();
  prepared->limits = {
      opts_.frame_bytes_max, opts_.remote_actors_max, opts_.pending_requests_max,
      opts_.peer_requests_max, opts_.peer_credit_max};
  prepared->allowed = allowed_;
  prepared->scribe = {
      opts_.frame_bytes_max, opts_.unsent_bytes_max,
      static_cast<int>(opts_.tcp_user_timeout.count())};
  const auto idle =
      talk->tls()->server() ? opts_.keepalive_idle_listening : opts_.keepalive_idle_dialing;
  tune(
      talk->socket().native_handle(),
      {static_cast<int>(idle.count()), static_cast<int>(opts_.keepalive_interval.count()),
       opts_.keepalive_count});
  // Weak: a conversation belongs to the endpoint's thread, and must not outlive it.
  prepared->bind = [self = shared_from_this(), link,
                    weak = std::weak_ptr(talk)](const caf::node_id& node) {
    auto refused = self->bind(link, node);
    if (auto talk = weak.lock(); talk && !refused)
      self->post([talk = std::move(talk)] { talk->stop_deadline(); });
    return refused;
  };
  return prepared;
}

void core::hand_over(handover_ptr link, const std::shared_ptr<conversation>& talk) {
  link->socket = base::unique_fd(talk->socket().release());
  talk->start_deadline(opts_.handshake_timeout, [weak = std::weak_ptr(link->state)] {
    if (const auto state = weak.lock()) state->close("no handshake of CAF within the time given");
  });
  caf::actor broker;
  {
    std::lock_guard lock{mutex_};
    broker = broker_;
  }
  base::log_info("link", "{} is linked", link->state->id());
  caf::anon_send(broker, std::move(link));
}

bool core::begin_handshake(const std::string& address) {
  if (handshakes_ >= opts_.handshakes_max) return false;
  auto& same = handshakes_from_[address];
  if (same >= opts_.handshakes_per_address_max) return false;
  ++same;
  ++handshakes_;
  return true;
}

void core::end_handshake(const std::string& address) {
  --handshakes_;
  if (--handshakes_from_[address] == 0) handshakes_from_.erase(address);
}

}  // namespace dlls::runtime::link::detail

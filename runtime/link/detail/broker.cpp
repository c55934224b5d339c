#include "runtime/link/detail/broker.hpp"

#include <caf/actor_registry.hpp>
#include <caf/actor_system.hpp>
#include <caf/io/middleman.hpp>
#include <caf/io/network/default_multiplexer.hpp>
#include <caf/make_counted.hpp>
#include <caf/message_handler.hpp>
#include <future>

#include "base/check.hpp"
#include "runtime/link/detail/proxy.hpp"

namespace dlls::runtime::link::detail {

namespace io = caf::io;

namespace {

// The node whose message is being deserialised on this thread. A copy: what CAF points to may be
// gone by the time that a proxy is made.
thread_local caf::node_id last_hop;

// CAF keeps published actors by port; ours is published for the length of one handshake.
constexpr std::uint16_t handshake_port = 1;

io::network::default_multiplexer& multiplexer_of(caf::actor_system& system) {
  auto* found = dynamic_cast<io::network::default_multiplexer*>(&system.middleman().backend());
  base::check(found != nullptr, "links need CAF's default multiplexer");
  return *found;
}

}  // namespace

handover::~handover() {
  // Still there when the broker ended before it came to this one.
  if (closed) closed("the endpoint has ended");
}

caf::behavior link_broker::make_behavior() {
  auto basp = super::make_behavior();
  return caf::message_handler{
      [this](const handover_ptr& link) { take(link); },
      [this](const close_order& order) {
        const auto handle = tls_scribe::handle_of(order.epoch);
        if (!valid(handle)) return;
        close(handle);
        clean_up_later(handle);
      },
      [this](const io::connection_closed_msg& closed) { clean_up_later(closed.handle); },
      [this](const cleanup_order& order) { clean_up(order.handle); },
  }
      .or_else(basp);
}

void link_broker::take(const handover_ptr& link) {
  if (!link->state->is_open()) return end(link);
  const auto handle = tls_scribe::handle_of(link->state->epoch());
  const bool server = link->tls->server();
  auto guard = std::make_shared<gate>(
      link->limits, link->allowed, server, this_node(), link->local ? link->local->id() : 0,
      [this, handle, bind = link->bind](const caf::node_id& node) {
        auto refused = bind(node);
        if (!refused) replace(node, handle);
        return refused;
      });
  auto scribe = caf::make_counted<tls_scribe>(
      multiplexer_of(system()), link->tls, link->state, guard, link->scribe);
  link->socket.release();  // the scribe's now
  add_scribe(scribe);
  links_.emplace(handle, entry{link, guard});
  if (link->local) system().registry().put(link->local->id(), link->local);
  set_context(handle);
  if (server) {
    instance.add_published_actor(handshake_port, link->local, link->interface);
    instance.write_server_handshake(context(), get_buffer(handle), handshake_port);
    instance.remove_published_actor(handshake_port);
    flush(handle);
  }
  configure_read(handle, io::receive_policy::exactly(io::basp::header_size));
}

void link_broker::end(const handover_ptr& link) {
  if (const auto closed = std::exchange(link->closed, nullptr)) closed(link->state->reason());
}

void link_broker::clean_up_later(io::connection_handle handle) {
  auto& queue = instance.queue();
  queue.push(
      context(), queue.new_id(), ctrl(),
      caf::make_mailbox_element(nullptr, caf::make_message_id(), {}, cleanup_order{handle}));
}

void link_broker::clean_up(io::connection_handle handle) {
  connection_cleanup(handle, caf::sec::none);
  const auto found = links_.find(handle);
  if (found == links_.end()) return;
  auto ended = std::move(found->second);
  links_.erase(found);
  fail_requests(ended);
  end(ended.link);
}

// A peer that comes back before its old link was cleaned up keeps its node id: CAF would take the
// new link for a redundant one.
void link_broker::replace(const caf::node_id& node, io::connection_handle by) {
  const auto old = instance.tbl().lookup_direct(node);
  if (!old || *old == by) return;
  const auto handle = *old;
  if (const auto found = links_.find(handle); found != links_.end())
    found->second.link->state->ends("replaced by a newer link of the same peer");
  connection_cleanup(handle, caf::sec::none);
  if (valid(handle)) close(handle);
  clean_up_later(handle);
}

void link_broker::on_exit() {
  auto links = std::move(links_);
  links_.clear();
  for (auto& [handle, ended] : links) ended.link->state->ends("the endpoint has ended");
  super::on_exit();  // takes the proxies down
  for (auto& [handle, ended] : links) {
    fail_requests(ended);
    end(ended.link);
  }
}

void link_broker::fail_requests(entry& of) {
  for (const auto& open : of.guard->take_open_requests()) fail_request(open.actor, open.message_id);
}

void link_broker::fail_request(std::uint64_t actor, std::uint64_t message_id) {
  const caf::detail::sync_request_bouncer refuse{
      caf::make_error(caf::exit_reason::remote_link_unreachable)};
  refuse(
      caf::actor_cast<caf::strong_actor_ptr>(system().registry().get(actor)),
      caf::make_message_id(message_id));
}

void link_broker::set_last_hop(caf::node_id* node) {
  last_hop = node ? *node : caf::node_id{};
  super::set_last_hop(node);
}

caf::strong_actor_ptr link_broker::make_proxy(caf::node_id node, caf::actor_id actor) {
  // Only the peer's own actors: CAF would take a handle to a third node for an offer to route.
  if (!node || node != last_hop || actor == caf::invalid_actor_id) return nullptr;
  caf::actor_config config;
  return caf::make_actor<link_proxy, caf::strong_actor_ptr>(
      actor, node, &system(), config, caf::actor_cast<caf::actor>(this));
}

void link_broker::finalize_handshake(
    const caf::node_id& node, caf::actor_id actor, std::set<std::string>& interface) {
  this_context->id = node;
  const auto found = links_.find(this_context->hdl);
  if (found == links_.end()) return;
  last_hop = node;
  auto door = actor == caf::invalid_actor_id ? nullptr : namespace_.get_or_put(node, actor);
  found->second.link->linked(node, std::move(door), std::move(interface));
}

link_broker::buffer_type& link_broker::get_buffer(io::connection_handle handle) {
  return valid(handle) ? super::get_buffer(handle) : undeliverable_;
}

void link_broker::flush(io::connection_handle handle) {
  if (valid(handle)) super::flush(handle);
  const auto frames = std::as_bytes(std::span{undeliverable_});
  for (std::size_t at = 0; frames.size() - at >= frame_header::bytes;) {
    const auto header = frame_header::read(frames.subspan(at).first<frame_header::bytes>());
    if (header.op == operation::direct_message && header.is_request())
      fail_request(header.source, header.data);
    at += frame_header::bytes + header.payload_bytes;
  }
  undeliverable_.clear();
}

caf::actor start_broker(caf::actor_system& system) {
  caf::actor_config config{&multiplexer_of(system)};
  return system.spawn_class<link_broker, caf::hidden>(config);
}

void stop_broker(caf::actor_system& system, const caf::actor& broker) {
  auto& multiplexer = multiplexer_of(system);
  auto ended = std::make_shared<std::promise<void>>();
  multiplexer.post([&multiplexer, broker, ended] {
    auto* pointer = static_cast<link_broker*>(caf::actor_cast<caf::abstract_actor*>(broker));
    if (!pointer->getf(caf::abstract_actor::is_terminated_flag)) {
      pointer->context(&multiplexer);
      pointer->quit(caf::exit_reason::user_shutdown);
      pointer->finalize();
    }
    ended->set_value();
  });
  ended->get_future().wait();
}

}  // namespace dlls::runtime::link::detail

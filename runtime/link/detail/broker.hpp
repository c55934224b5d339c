// The actor that speaks BASP for one endpoint: CAF's own broker, without its doormen, without its
// search for remote spawn servers, and without trust in what peers say about third nodes. Runs on
// the multiplexer's thread.
#pragma once
#include <caf/io/basp_broker.hpp>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "base/file.hpp"
#include "runtime/link/detail/gate.hpp"
#include "runtime/link/detail/link_state.hpp"
#include "runtime/link/detail/scribe.hpp"

namespace dlls::runtime::link::detail {

// A connection whose peer is authenticated, on its way from the endpoint's thread to the broker.
struct handover {
  std::shared_ptr<link_state> state;
  std::shared_ptr<session> tls;
  base::unique_fd socket;
  caf::strong_actor_ptr local;      // what the peer may address; may be null when dialing
  std::set<std::string> interface;  // of `local`, when listening
  gate_limits limits;
  std::shared_ptr<const gate_rules::texts> allowed;
  scribe_options scribe;

  // Called on the multiplexer's thread. May this peer be that node?
  std::function<gate::verdict(const caf::node_id&)> bind;
  // Dialing: the peer's door and what it offers.
  std::function<void(caf::node_id, caf::strong_actor_ptr, std::set<std::string>)> linked;
  // Exactly once, last: the proxies are down, the open requests have failed.
  std::function<void(std::string reason)> closed;

  handover() = default;
  handover(const handover&) = delete;
  handover& operator=(const handover&) = delete;
  ~handover();
};

// Messages to the broker.
using handover_ptr = std::shared_ptr<handover>;
struct close_order {
  std::uint64_t epoch = 0;
};
// From the broker to itself, behind every message that the link brought before it ended.
struct cleanup_order {
  caf::io::connection_handle handle;
};

class link_broker final : public caf::io::basp_broker {
 public:
  using super = caf::io::basp_broker;
  explicit link_broker(caf::actor_config& config) : super(config) {}

  caf::behavior make_behavior() override;
  void on_exit() override;
  const char* name() const override { return "dlls-link"; }

  caf::strong_actor_ptr make_proxy(caf::node_id node, caf::actor_id actor) override;
  void set_last_hop(caf::node_id* node) override;
  void finalize_handshake(
      const caf::node_id& node, caf::actor_id actor, std::set<std::string>& interface) override;
  // No probing of peers for actors that spawn or configure.
  void learned_new_node_directly(const caf::node_id&, bool) override {}
  void learned_new_node_indirectly(const caf::node_id&) override {}
  buffer_type& get_buffer(caf::io::connection_handle handle) override;
  void flush(caf::io::connection_handle handle) override;

 private:
  struct entry {
    handover_ptr link;
    std::shared_ptr<gate> guard;
  };

  void take(const handover_ptr& link);
  void end(const handover_ptr& link);
  void clean_up_later(caf::io::connection_handle handle);
  void clean_up(caf::io::connection_handle handle);
  void replace(const caf::node_id& node, caf::io::connection_handle by);
  void fail_requests(entry& of);
  void fail_request(std::uint64_t actor, std::uint64_t message_id);

  std::map<caf::io::connection_handle, entry> links_;
  buffer_type undeliverable_;  // frames for links that have just ended
};

// Spawns the broker of an endpoint; ends it, and returns when it has ended. Not on the
// multiplexer's thread.
caf::actor start_broker(caf::actor_system& system);
void stop_broker(caf::actor_system& system, const caf::actor& broker);

}  // namespace dlls::runtime::link::detail

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(dlls::runtime::link::detail::handover_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(dlls::runtime::link::detail::close_order)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(dlls::runtime::link::detail::cleanup_order)

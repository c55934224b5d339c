// The links of a protocol_world: actors in place of sockets.
#pragma once
#include <array>
#include <chrono>
#include <cstdint>
#include <string>

#include "actors/door.hpp"
#include "actors/message_types.hpp"
#include "actors/node.hpp"
#include "tests/sim/ordered_ledger.hpp"

namespace dlls::tests {

class world;

enum class direction : std::uint8_t { up, down };  // to the cloud, to the node

// What messages, disks and the ledger of a world meet, and who watches it. The defaults: nothing
// happens. Called on the test's thread.
class conditions {
 public:
  virtual ~conditions() = default;
  // How long a message is under way. Order within one direction of one link holds regardless.
  virtual std::chrono::microseconds delay(const std::string& /*node*/, direction) { return {}; }
  // How long that direction still lets nothing through; messages wait, in their order.
  virtual std::chrono::microseconds blocked(const std::string& /*node*/, direction) { return {}; }
  // Whether a request comes a second time, as from somebody who repeats what he already said.
  virtual bool comes_again(const std::string& /*message*/) { return false; }
  // After how long the second one leaves.
  virtual std::chrono::milliseconds again_after() { return {}; }
  // How long work that was just queued on that device waits before it begins.
  virtual std::chrono::milliseconds stalls(const std::string& /*device*/) { return {}; }
  // Whether the ledger refuses the operation that comes now.
  virtual bool ledger_is_full() { return false; }

  // A message or answer left its sender.
  virtual void left(const std::string& /*node*/, const std::string& /*message*/) {}
  // An edge was asked of the ledger.
  virtual void moved(
      const ledger::asked_edge&, const base::result<ledger::job>& /*before*/,
      const base::result<ledger::job>& /*after*/) {}
  // The node answered `received`.
  virtual void acknowledged(const std::string& /*node*/, const actors::job_ref&) {}
  // The node says that it holds the result, or the reason why there is none.
  virtual void said_ended(const std::string& /*node*/, const actors::job_ref&) {}
};

// Both ends of one link. Speaks to the node as its door, to the door as the node.
using wire_interface = actors::cloud_door::extend_with<actors::node_door>;
class wire final : public runtime::co_actor<wire_interface> {
 public:
  wire(
      caf::actor_config& config, world& in, std::string node, actors::node_door at,
      actors::cloud_door door);
  behavior_type make_behavior() override;
  // Both ends hold the wire: without this the three would keep each other's memory for good.
  void on_exit() override;
  // Lets nothing through any more; whoever asks over it learns so at his end's time, in virtual
  // time since the start. The wire itself is to be killed at the later of them.
  void cut(std::chrono::microseconds cloud_learns, std::chrono::microseconds node_learns);

 private:
  template <class Answer, class Message>
  runtime::task<Answer> to_cloud(Message message);
  template <class Answer, class Message>
  runtime::task<Answer> to_node(Message message);
  template <class Value, class Handle, class Message>
  runtime::stream<Value> pass_parts(Handle from, direction way, Message message);
  template <class Value, class Message>
  runtime::stream<Value> from_cloud(Message message);
  template <class Value, class Message>
  runtime::stream<Value> from_node(Message message);
  template <class Message>
  runtime::task<> tell_cloud(Message message);
  template <class Message>
  runtime::task<> tell_node(Message message);
  template <class Handle, class Answer, class Message>
  runtime::task<> say_again(Handle to, direction way, Message message);
  // True when the message may be handed over at the other end, false when the link has ended and
  // the asker knows. `asker` is the direction in which the request went.
  runtime::task<bool> pass(std::string name, direction way, direction asker);

  // What is under way arrives, whether its sender still waits or not; streams end with their
  // subscribers.
  struct lane {
    int under_way = 0;
    std::chrono::microseconds last_arrival{0};
    std::chrono::microseconds end_known{-1};  // who asks this way learns of the end; -1: no end
  };
  lane& of(direction way) { return lanes_[static_cast<std::size_t>(way)]; }
  bool is_cut() const { return lanes_[0].end_known.count() >= 0; }

  world& world_;
  std::string node_;
  actors::node_door at_;
  actors::cloud_door door_;
  std::array<lane, 2> lanes_;
};

}  // namespace dlls::tests

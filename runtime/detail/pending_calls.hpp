// The operations of one actor (or of one `outside`) that wait for a message: asks, sleeps and
// completions. Keeps their deadlines in a queue of its own with one live entry in CAF's clock, and
// watches the actors they wait for. Not thread-safe: its owner's turn or lock protects it.
//
// Every operation gets a number that is never used again, whose low bits are its place in a table:
// its answer finds it without a search, and an answer that comes too late finds nothing.
#pragma once
#include <caf/actor_addr.hpp>
#include <caf/actor_clock.hpp>
#include <caf/actor_control_block.hpp>
#include <caf/attachable.hpp>
#include <caf/message_id.hpp>
#include <caf/type_erased_tuple.hpp>
#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "base/error.hpp"
#include "runtime/detail/call_id.hpp"
#include "runtime/detail/run_loop.hpp"

namespace dlls::runtime::detail {

class operation;
struct callee;

class pending_calls {
 public:
  // `self` receives the clock's ticks and the deaths of callees; it must outlive this.
  explicit pending_calls(caf::abstract_actor& self) noexcept;
  pending_calls(const pending_calls&) = delete;
  pending_calls& operator=(const pending_calls&) = delete;
  ~pending_calls();

  // Registers the operation until the deadline and gives its number.
  std::uint64_t open(operation& op, time_point deadline);
  // Lets the operation fail as soon as `who` is gone. The caller attaches the result, unless null,
  // to `who` (outside of its lock: attaching to a dead actor reports at once).
  [[nodiscard]] caf::attachable_ptr watch(operation& op, const caf::strong_actor_ptr& who);
  // Forgets the operation; no effect on one that is not open.
  void close(operation& op) noexcept;
  std::size_t size() const noexcept { return open_count_; }
  // What is kept for them; both stay proportional to what is open (tests look).
  std::size_t timers() const noexcept { return timers_.size(); }
  std::size_t watched() const noexcept { return callees_.size(); }

  // What a message that came in means. All but `foreign` are ours even when nothing waits any more.
  enum class kind { foreign, answer, order, tick, down };
  static kind classify(caf::message_id id) noexcept;
  // The operation that an answer belongs to; nullptr when it came too late.
  operation* find(call_id id) const noexcept { return find(id.number()); }
  // After a tick: the operations whose time is up, one a call, still open; at the end nullptr, and
  // the next tick is armed.
  operation* take_expired();
  // After the death of a callee: the operations that waited for it, closed, one a call.
  operation* take_orphan(call_id id) noexcept;
  template <class Visitor>
  void for_each(Visitor&& visit) const {
    for (auto* op : table_)
      if (op) visit(*op);
  }

  // Detaches from every callee and from the clock. Open operations stay registered.
  void shut_down() noexcept;

 private:
  struct timer {
    time_point due;
    std::uint64_t number;
    bool operator<(const timer& other) const noexcept { return due > other.due; }
  };

  operation* find(std::uint64_t number) const noexcept;
  operation*& place_of(std::uint64_t number) noexcept {
    return table_[number & (table_.size() - 1)];
  }
  void grow();
  void arm();
  void drop_dead_timers();
  void drop_idle_callees();
  void forget(callee& c) noexcept;

  caf::abstract_actor& self_;
  std::vector<operation*> table_;  // a power of two, three quarters of it taken at most
  std::uint64_t next_number_ = 1;
  std::size_t open_count_ = 0;
  // A heap, earliest first; entries of closed operations are dead.
  std::vector<timer> timers_;
  std::size_t dead_timers_ = 0;
  time_point armed_ = no_deadline;
  caf::strong_actor_ptr relay_;  // what CAF's clock holds instead of the actor; made at need
  std::unordered_map<const caf::actor_control_block*, std::unique_ptr<callee>> callees_;
  std::unordered_map<std::uint64_t, callee*> callees_by_id_;
  std::uint64_t next_callee_ = 1;
  std::size_t sweep_at_ = 64;
};

// One wait. Derived classes live in a coroutine's frame (or, for `outside` and subscriptions, on
// the heap) and close themselves when they die. Small: a suspended task is little more than this.
// While it waits for somebody who may end, it stands among those that do by the hook by which it
// will stand among the ready.
class operation : public ready_node {
 public:
  virtual ~operation() = default;
  enum class after_answer { closed, open };
  // The answer, a part of it, or the signal of a completion. Stores it; does not resume. Says
  // whether the operation is over.
  virtual after_answer answered(caf::type_erased_tuple& content) = 0;
  // Its time is over, or its actor's: closed afterwards.
  virtual void expired() = 0;
  virtual void callee_lost(const base::error&) {}
  // For people: what is waited for.
  virtual std::string describe() const = 0;
  bool is_open() const noexcept { return number_ != 0; }
  std::uint64_t number() const noexcept { return number_; }  // 0: not open
  time_point since() const noexcept { return since_; }

 protected:
  operation() noexcept = default;
  // Until it begins, how long it may wait stands where its beginning will.
  explicit operation(std::chrono::nanoseconds within) noexcept : since_(within) {}
  std::chrono::nanoseconds within() const noexcept { return since_.time_since_epoch(); }
  void begin_at(time_point now) noexcept { since_ = now; }
  // For the derived class, in bits that are free here.
  std::uint8_t stage() const noexcept { return stage_; }
  void set_stage(std::uint8_t stage) noexcept { stage_ = stage; }

 private:
  friend class pending_calls;
  std::uint64_t number_ : call_id::number_bits = 0;
  std::uint64_t timed_ : 1 = 0;
  std::uint64_t stage_ : 8 = 0;
  time_point since_;
};

// The content of the message by which a callee's end is reported. Never announced, so it can't come
// from another node.
struct down_signal {
  base::error why;
  friend bool operator==(const down_signal&, const down_signal&) = default;
};
// By which another thread says that a completion's state holds a value.
struct completion_signal {
  friend bool operator==(const completion_signal&, const completion_signal&) = default;
};

}  // namespace dlls::runtime::detail

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(dlls::runtime::detail::down_signal)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(dlls::runtime::detail::completion_signal)

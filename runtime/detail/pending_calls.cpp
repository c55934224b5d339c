#include "runtime/detail/pending_calls.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <caf/abstract_actor.hpp>
#include <caf/actor_cast.hpp>
#include <caf/actor_config.hpp>
#include <caf/actor_system.hpp>
#include <caf/mailbox_element.hpp>
#include <caf/make_actor.hpp>
#include <caf/monitorable_actor.hpp>

#include "base/check.hpp"
#include "runtime/caf_error.hpp"
#include "runtime/detail/answer.hpp"

namespace dlls::runtime::detail {
namespace {

constexpr std::uint64_t tag_what_we_attach = 0x646c6c73;  // a token subtype that CAF doesn't use
constexpr std::size_t table_size_first = 8;

// A signal's number: 0 is the clock's, others name a callee.
caf::message_id signal(std::uint64_t number) {
  return call_id{call_kind::signal, 0, number}.response();
}

// Attached to a callee; its end becomes a message to the watcher.
class watch_attachable final : public caf::attachable {
 public:
  watch_attachable(const callee* key, std::uint64_t id, caf::actor_addr watcher, std::string who)
      : key_(key), id_(id), watcher_(std::move(watcher)), who_(std::move(who)) {}

  void actor_exited(const caf::error& reason, caf::execution_unit* host) override {
    if (auto watcher = caf::actor_cast<caf::strong_actor_ptr>(watcher_)) {
      watcher->enqueue(
          caf::make_mailbox_element(nullptr, signal(id_), {}, down_signal{from_caf(reason, who_)}),
          host);
    }
  }
  bool matches(const token& what) override {
    return what.subtype == tag_what_we_attach && what.ptr == key_;
  }

 private:
  const callee* key_;
  std::uint64_t id_;
  caf::actor_addr watcher_;
  std::string who_;
};

// Stands in CAF's clock for the actor, so that a deadline still set doesn't keep the actor alive.
class weak_relay final : public caf::monitorable_actor {
 public:
  weak_relay(caf::actor_config& config, caf::actor_addr target)
      : monitorable_actor(config), target_(std::move(target)) {}
  void enqueue(caf::mailbox_element_ptr message, caf::execution_unit* host) override {
    if (auto target = caf::actor_cast<caf::strong_actor_ptr>(target_)) {
      target->enqueue(std::move(message), host);
    }
  }
  const char* name() const override { return "weak_relay"; }

 private:
  caf::actor_addr target_;
};

}  // namespace

// An actor that was asked at least once, and the operations that wait for it.
struct callee {
  caf::actor_addr who;
  std::uint64_t id = 0;
  hook_list<ready_node, ready_tag> waiting;  // operations
};

pending_calls::pending_calls(caf::abstract_actor& self) noexcept : self_(self) {}
pending_calls::~pending_calls() { shut_down(); }

pending_calls::kind pending_calls::classify(caf::message_id id) noexcept {
  const call_id ours{id};
  if (!id.is_response() || !ours.is_ours()) return kind::foreign;
  if (ours.kind() == call_kind::order) return kind::order;
  if (ours.kind() != call_kind::signal) return kind::answer;
  return ours.number() == 0 ? kind::tick : kind::down;
}

std::uint64_t pending_calls::open(operation& op, time_point deadline) {
  base::check(op.number_ == 0, "an operation is awaited once");
  if (open_count_ * 4 >= table_.size() * 3) grow();
  // At most three quarters of the table are taken, so that going once around it meets a free place
  // for three taken ones: four steps a call on average, whatever stays open for long.
  while (place_of(next_number_)) ++next_number_;
  const auto number = next_number_++;
  base::check(number <= call_id::number_max, "an actor's calls are numbered");
  op.number_ = number;
  place_of(number) = &op;
  ++open_count_;
  if (deadline != no_deadline) {
    op.timed_ = 1;
    // By a quarter, not twofold: with many tasks this is a good part of what each costs.
    if (timers_.size() == timers_.capacity())
      timers_.reserve(timers_.size() + std::max<std::size_t>(16, timers_.size() / 4));
    timers_.push_back({deadline, number});
    std::push_heap(timers_.begin(), timers_.end());
    arm();
  }
  return number;
}

// Numbers that differ in their low bits go on to differ in more of them.
void pending_calls::grow() {
  std::vector<operation*> larger(std::max(table_size_first, 2 * table_.size()));
  for (auto* op : table_)
    if (op) larger[op->number() & (larger.size() - 1)] = op;
  table_ = std::move(larger);
}

void pending_calls::close(operation& op) noexcept {
  if (op.number_ == 0) return;
  place_of(op.number_) = nullptr;
  --open_count_;
  op.number_ = 0;
  op.unlink();
  if (!op.timed_) return;
  op.timed_ = 0;
  ++dead_timers_;
  drop_dead_timers();
}

operation* pending_calls::find(std::uint64_t number) const noexcept {
  if (table_.empty()) return nullptr;
  auto* op = table_[number & (table_.size() - 1)];
  return op && op->number() == number ? op : nullptr;
}

// --- deadlines ---------------------------------------------------------------------------------

void pending_calls::arm() {
  while (!timers_.empty() && !find(timers_.front().number)) {
    std::pop_heap(timers_.begin(), timers_.end());
    timers_.pop_back();
    --dead_timers_;
  }
  if (timers_.empty() || armed_ <= timers_.front().due) return;
  auto& system = self_.home_system();
  if (!relay_) {
    caf::actor_config config;
    relay_ = caf::make_actor<weak_relay, caf::strong_actor_ptr>(
        system.next_actor_id(), system.node(), &system, config, self_.address());
  }
  const auto tick = signal(0);
  if (armed_ != no_deadline) system.clock().cancel_request_timeout(relay_->get(), tick);
  armed_ = timers_.front().due;
  system.clock().set_request_timeout(armed_, relay_->get(), tick);
}

operation* pending_calls::take_expired() {
  const auto now = self_.home_system().clock().now();
  while (!timers_.empty() && timers_.front().due <= now) {
    auto* op = find(timers_.front().number);
    std::pop_heap(timers_.begin(), timers_.end());
    timers_.pop_back();
    if (!op) {
      --dead_timers_;
      continue;
    }
    op->timed_ = 0;
    return op;
  }
  if (armed_ <= now) armed_ = no_deadline;
  arm();
  return nullptr;
}

// Entries of closed operations stay in the heap until they are half of it, so that closing costs
// nothing and the heap stays proportional to what is pending.
void pending_calls::drop_dead_timers() {
  if (dead_timers_ < 64 || dead_timers_ * 2 < timers_.size()) return;
  std::erase_if(timers_, [&](const timer& t) { return find(t.number) == nullptr; });
  std::make_heap(timers_.begin(), timers_.end());
  dead_timers_ = 0;
}

// --- callees -----------------------------------------------------------------------------------

caf::attachable_ptr pending_calls::watch(operation& op, const caf::strong_actor_ptr& who) {
  auto found = callees_.find(who.get());
  caf::attachable_ptr fresh;
  if (found == callees_.end()) {
    if (callees_.size() >= sweep_at_) drop_idle_callees();
    auto c = std::make_unique<callee>();
    c->who = caf::actor_cast<caf::actor_addr>(who);
    c->id = next_callee_++;
    callees_by_id_.emplace(c->id, c.get());
    fresh = std::make_unique<watch_attachable>(c.get(), c->id, self_.address(), describe(*who));
    found = callees_.emplace(who.get(), std::move(c)).first;
  }
  found->second->waiting.push_back(op);
  return fresh;
}

operation* pending_calls::take_orphan(call_id id) noexcept {
  const auto found = callees_by_id_.find(id.number());
  if (found == callees_by_id_.end()) return nullptr;
  auto& c = *found->second;
  if (c.waiting.empty()) {
    callees_by_id_.erase(found);
    callees_.erase(caf::actor_cast<caf::actor_control_block*>(c.who));
    return nullptr;
  }
  auto* op = static_cast<operation*>(c.waiting.front());
  close(*op);
  return op;
}

void pending_calls::forget(callee& c) noexcept {
  if (auto who = caf::actor_cast<caf::strong_actor_ptr>(c.who)) {
    who->get()->detach(caf::attachable::token{tag_what_we_attach, &c});
  }
}

// An actor that asks many short-lived others must not collect them, nor they its attachables.
void pending_calls::drop_idle_callees() {
  for (auto i = callees_.begin(); i != callees_.end();) {
    if (i->second->waiting.empty()) {
      forget(*i->second);
      callees_by_id_.erase(i->second->id);
      i = callees_.erase(i);
    } else {
      ++i;
    }
  }
  sweep_at_ = std::max<std::size_t>(64, 2 * callees_.size());
}

void pending_calls::shut_down() noexcept {
  for (auto& [key, c] : callees_) forget(*c);
  callees_.clear();
  callees_by_id_.clear();
  if (relay_) self_.home_system().clock().cancel_timeouts(relay_->get());
  relay_ = nullptr;
  armed_ = no_deadline;
}

}  // namespace dlls::runtime::detail

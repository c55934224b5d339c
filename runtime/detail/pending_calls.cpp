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

// A message id has 60 free bits; CAF counts them up from 1. We mark ours with the highest, callees'
// deaths with the next, and split the rest into a slot and its generation.
constexpr std::uint64_t our_mark = std::uint64_t{1} << 59;
constexpr std::uint64_t down_mark = std::uint64_t{1} << 58;
constexpr unsigned slot_bits = 24;
constexpr std::uint64_t slot_mask = (std::uint64_t{1} << slot_bits) - 1;
constexpr std::uint64_t generation_mask = (std::uint64_t{1} << (58 - slot_bits)) - 1;
constexpr std::uint64_t tick_id = our_mark | down_mark;   // the callee that is never numbered: 0
constexpr std::uint64_t tag_what_we_attach = 0x646c6c73;  // a token subtype that CAF doesn't use

caf::message_id request_id(std::uint64_t id) { return caf::make_message_id(id); }
std::uint64_t bits(caf::message_id id) { return id.request_id().integer_value(); }

// Attached to a callee; its end becomes a message to the watcher.
class watch_attachable final : public caf::attachable {
 public:
  watch_attachable(const callee* key, std::uint64_t id, caf::actor_addr watcher, std::string who)
      : key_(key), id_(id), watcher_(std::move(watcher)), who_(std::move(who)) {}

  void actor_exited(const caf::error& reason, caf::execution_unit* host) override {
    if (auto watcher = caf::actor_cast<caf::strong_actor_ptr>(watcher_)) {
      watcher->enqueue(
          caf::make_mailbox_element(
              nullptr, request_id(id_).response_id(), {}, down_signal{from_caf(reason, who_)}),
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
  hook_list<operation, callee_tag> waiting;
};

pending_calls::pending_calls(caf::abstract_actor& self) noexcept : self_(self) {}
pending_calls::~pending_calls() { shut_down(); }

pending_calls::kind pending_calls::classify(caf::message_id id) noexcept {
  if (!id.is_response() || (bits(id) & our_mark) == 0) return kind::foreign;
  if ((bits(id) & down_mark) == 0) return kind::call;
  return bits(id) == tick_id ? kind::tick : kind::down;
}

caf::message_id pending_calls::open(operation& op, time_point deadline) {
  base::check(op.id_ == 0, "an operation is awaited once");
  if (free_.empty()) {
    base::check(slots_.size() < slot_mask, "too many operations pending in one actor");
    free_.push_back(static_cast<std::uint32_t>(slots_.size()));
    slots_.emplace_back();
  }
  const auto at = free_.back();
  free_.pop_back();
  slots_[at].op = &op;
  op.id_ = our_mark | (slots_[at].generation << slot_bits) | at;
  ++open_count_;
  if (deadline != no_deadline) {
    op.timed_ = true;
    timers_.push_back({deadline, op.id_});
    std::push_heap(timers_.begin(), timers_.end());
    arm();
  }
  return request_id(op.id_);
}

void pending_calls::close(operation& op) noexcept {
  if (op.id_ == 0) return;
  auto& place = slots_[op.id_ & slot_mask];
  place.op = nullptr;
  place.generation = (place.generation + 1) & generation_mask;
  free_.push_back(static_cast<std::uint32_t>(op.id_ & slot_mask));
  --open_count_;
  if (std::exchange(op.timed_, false)) {
    ++dead_timers_;
    drop_dead_timers();
  }
  op.id_ = 0;
  static_cast<tagged_hook<callee_tag>&>(op).unlink();
}

operation* pending_calls::find(std::uint64_t id) const noexcept {
  const auto at = id & slot_mask;
  const auto generation = (id >> slot_bits) & generation_mask;
  if (at >= slots_.size() || slots_[at].generation != generation) return nullptr;
  return slots_[at].op;
}

operation* pending_calls::take(caf::message_id id) noexcept {
  auto* op = find(bits(id));
  if (op) close(*op);
  return op;
}

// --- deadlines ---------------------------------------------------------------------------------

void pending_calls::arm() {
  while (!timers_.empty() && !find(timers_.front().id)) {
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
  const auto tick = request_id(tick_id).response_id();
  if (armed_ != no_deadline) system.clock().cancel_request_timeout(relay_->get(), tick);
  armed_ = timers_.front().due;
  system.clock().set_request_timeout(armed_, relay_->get(), tick);
}

operation* pending_calls::take_expired() {
  const auto now = self_.home_system().clock().now();
  while (!timers_.empty() && timers_.front().due <= now) {
    auto* op = find(timers_.front().id);
    std::pop_heap(timers_.begin(), timers_.end());
    timers_.pop_back();
    if (!op) {
      --dead_timers_;
      continue;
    }
    op->timed_ = false;
    close(*op);
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
  std::erase_if(timers_, [&](const timer& t) { return find(t.id) == nullptr; });
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
    c->id = our_mark | down_mark | next_callee_++;
    callees_by_id_.emplace(c->id, c.get());
    fresh = std::make_unique<watch_attachable>(c.get(), c->id, self_.address(), describe(*who));
    found = callees_.emplace(who.get(), std::move(c)).first;
  }
  found->second->waiting.push_back(op);
  return fresh;
}

operation* pending_calls::take_orphan(caf::message_id id) noexcept {
  const auto found = callees_by_id_.find(bits(id));
  if (found == callees_by_id_.end()) return nullptr;
  auto& c = *found->second;
  if (c.waiting.empty()) {
    callees_by_id_.erase(found);
    callees_.erase(caf::actor_cast<caf::actor_control_block*>(c.who));
    return nullptr;
  }
  auto* op = c.waiting.front();
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

#include "runtime/detail/core.hpp"

#include "base/check.hpp"
#include "runtime/caf_error.hpp"

namespace dlls::runtime::detail {

base::error caught() { return current_exception_error(); }

void handler_job::finished() noexcept {
  answer_(*this);
  static_cast<tagged_hook<handler_tag>&>(*this).unlink();
  core_->loop_.later(*this);
}

void handler_job::perform() noexcept { core_->recycle(*this); }

time_point core::deadline(caf::actor_clock::duration_type after) const {
  const auto current = now();
  return after > no_deadline - current ? no_deadline - std::chrono::hours{1} : current + after;
}

caf::message_id core::open(operation& op, time_point deadline) {
  base::check(!ended_, "nothing can be awaited after the actor's end");
  if (calls_.size() == 0) caf::intrusive_ptr_add_ref(self_.ctrl());
  return calls_.open(op, deadline);
}

void core::watch(operation& op, const caf::strong_actor_ptr& who) {
  if (auto attachment = calls_.watch(op, who)) who->get()->attach(std::move(attachment));
}

void core::close(operation& op) noexcept {
  if (!op.is_open()) return;
  calls_.close(op);
  if (calls_.size() == 0) caf::intrusive_ptr_release(self_.ctrl());
}

bool core::dispatch(caf::mailbox_element& message) {
  using kind = pending_calls::kind;
  const auto what = pending_calls::classify(message.mid);
  if (what == kind::foreign) return false;
  if (ended_) return true;
  self_.current_mailbox_element(&message);
  const bool held = calls_.size() > 0;
  if (what == kind::call) {
    if (auto* op = calls_.take(message.mid)) {
      op->answered(message.content());
      loop_.make_ready(*op);
    }
  } else if (what == kind::tick) {
    while (auto* op = calls_.take_expired()) {
      op->expired();
      loop_.make_ready(*op);
    }
  } else if (message.content().match_elements<down_signal>()) {
    const auto& signal = message.content().get_as<down_signal>(0);
    while (auto* op = calls_.take_orphan(message.mid)) {
      op->callee_lost(signal.why);
      loop_.make_ready(*op);
    }
  }
  if (held && calls_.size() == 0) caf::intrusive_ptr_release(self_.ctrl());
  return true;
}

handler_job& core::new_handler() {
  std::unique_ptr<handler_job> h;
  if (spare_.empty()) {
    h = std::make_unique<handler_job>();
    h->core_ = this;
  } else {
    h = std::move(spare_.back());
    spare_.pop_back();
  }
  h->reply_ = reply{self_};
  auto* raw = h.release();
  handlers_.push_back(*raw);
  return *raw;
}

void core::recycle(handler_job& h) noexcept {
  std::exchange(h.frame_, nullptr).destroy();
  h.reply_ = reply{};
  std::unique_ptr<handler_job> owned{&h};
  constexpr std::size_t spare_max = 64;
  if (spare_.size() < spare_max) spare_.push_back(std::move(owned));
}

void core::shut_down() noexcept {
  base::check(!loop_.running(), "an actor ends between its turns");
  // Frames may own scopes and operations, but never start anything.
  while (auto* h = handlers_.pop_front()) {
    std::exchange(h->frame_, nullptr).destroy();
    delete h;  // answers
  }
  loop_.run();  // chores of children that have finished
  ended_ = true;
  calls_.shut_down();
}

}  // namespace dlls::runtime::detail

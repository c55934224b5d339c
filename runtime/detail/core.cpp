#include "runtime/detail/core.hpp"

#include <fmt/core.h>

#include "base/check.hpp"
#include "runtime/caf_error.hpp"
#include "runtime/detail/answer.hpp"

namespace dlls::runtime::detail {

base::error caught() { return current_exception_error(); }

// --- handlers ------------------------------------------------------------------------------------

void handler_job::finished() noexcept {
  answer_(*this);
  core_->handlers_.erase(*this);
  core_->loop_.retire(*this);
}

void handler_job::retired() noexcept { core_->recycle(*this); }

time_point handler_job::deadline(time_point now) noexcept {
  if (const auto code = std::exchange(time_code_, 0)) deadline_ = now + time_code::decode(code);
  return deadline_;
}

void handler_job::wait_for_credit(ready_node& yielding) noexcept {
  yielding_ = &yielding;
  yielding_since_ = core_->now();
  begin(yielding_since_);
}

std::size_t handler_index::hash(
    const caf::actor_control_block* asker, std::uint64_t number) noexcept {
  return (reinterpret_cast<std::uintptr_t>(asker) >> 6) + number;
}

handler_index::bucket& handler_index::bucket_of(
    const caf::actor_control_block* asker, std::uint64_t number) const noexcept {
  return buckets_[hash(asker, number) & (bucket_count_ - 1)];
}

void handler_index::insert(handler_job& h) {
  if (size_ >= bucket_count_) grow();
  bucket_of(h.owed().asker(), h.call_number()).push_back(h);
  ++size_;
}

void handler_index::grow() {
  const auto old_count = bucket_count_;
  const auto old = std::move(buckets_);
  bucket_count_ = old_count ? 2 * old_count : 4;
  buckets_ = std::make_unique<bucket[]>(bucket_count_);
  for (std::size_t i = 0; i < old_count; ++i)
    while (auto* h = old[i].pop_front())
      bucket_of(h->owed().asker(), h->call_number()).push_back(*h);
}

void handler_index::erase(handler_job& h) noexcept {
  static_cast<tagged_hook<handler_tag>&>(h).unlink();
  --size_;
}

handler_job* handler_index::find(
    const caf::actor_control_block* asker, std::uint64_t number) const noexcept {
  if (size_ == 0) return nullptr;
  handler_job* found = nullptr;
  bucket_of(asker, number).for_each([&](handler_job& h) {
    if (h.call_number() == number && h.owed().asker() == asker) found = &h;
  });
  return found;
}

handler_job* handler_index::drain() noexcept {
  for (; drained_ < bucket_count_; ++drained_)
    if (auto* h = buckets_[drained_].pop_front()) {
      --size_;
      return h;
    }
  return nullptr;
}

// Whoever asks from another node can't cancel once its link is lost, and its proxy here ends then.
class core::asker_watch final : public operation {
 public:
  asker_watch(core& c, handler_job& of) : core_(c), handler_(of) {
    core_.open(*this, no_deadline);
    core_.watch(*this, of.owed().asker_handle());
  }
  ~asker_watch() { core_.close(*this); }
  after_answer answered(caf::type_erased_tuple&) override { return after_answer::open; }
  void expired() override {}
  void callee_lost(const base::error& why) override { core_.cancel(handler_, why); }
  std::string describe() const override { return "the asker's end"; }

 private:
  core& core_;
  handler_job& handler_;
};

handler_job* core::new_handler(handler_bond bond, std::string (*name)(), bool streams) {
  reply owed{self_};
  const call_id call{owed.id()};
  const bool subscribed = owed.pending() && call.is_ours() && call.kind() == call_kind::stream;
  if (streams && owed.is_composed()) {
    owed.fail({base::errc::unsupported, "a stream of a composed actor"});
    return nullptr;
  }
  if (streams != subscribed) {
    owed.fail(
        {base::errc::unsupported,
         streams ? "this answer is a stream: subscribe() to it" : "this answer is no stream"});
    return nullptr;
  }
  std::unique_ptr<handler_job> h;
  if (spare_.empty()) {
    h = std::make_unique<handler_job>();
    h->core_ = this;
  } else {
    h = std::move(spare_.back());
    spare_.pop_back();
  }
  h->name_ = name;
  h->reply_ = std::move(owed);
  h->detached_ = bond == handler_bond::detached;
  if (call.is_ours()) {
    h->call_number_ = call.number();
    if (!h->detached_) h->time_code_ = call.time();
    if (!h->detached_ && h->reply_.asker() && h->reply_.asker()->nid != self_.node())
      h->asker_watch_ = std::make_unique<asker_watch>(*this, *h);
  }
  handlers_.insert(*h);
  return h.release();
}

void core::recycle(handler_job& h) noexcept {
  std::unique_ptr<handler_job> owned{&h};
  std::exchange(h.resume_point, nullptr).destroy();
  h.reply_ = reply{};
  h.asker_watch_ = nullptr;
  static_cast<tagged_hook<job_tag>&>(h).unlink();
  h.time_code_ = h.call_number_ = h.credit_ = 0;
  h.yielding_ = nullptr;
  h.deadline_ = no_deadline;
  h.began = {};
  constexpr std::size_t spare_max = 1024;
  if (spare_.size() < spare_max) spare_.push_back(std::move(owned));
}

// Between turns of coroutines: this one is suspended, or about to begin.
void core::cancel(handler_job& h, const base::error& why) noexcept {
  h.reply_.fail(why);
  handlers_.erase(h);
  loop_.retire(h);
}

void core::obey(const caf::mailbox_element& order) {
  const auto number = call_id{order.mid}.number();
  if (!order.sender || number == 0) return;
  auto* h = handlers_.find(order.sender.get(), number);
  if (!h) return;  // it has answered meanwhile
  const auto& content = order.content();
  if (content.match_elements<std::uint32_t>()) {
    h->credit_ += content.get_as<std::uint32_t>(0);
    // Whoever grants more than it can mean must not make a producer run away.
    if (h->credit_ > window_max)
      return cancel(*h, {base::errc::resource_exhausted, "more credit than a window has"});
    if (h->credit_ > 0 && h->yielding_) loop_.make_ready(*std::exchange(h->yielding_, nullptr));
  } else if (content.empty() && !h->detached_) {
    cancel(*h, {base::errc::cancelled, "the asker has cancelled"});
  }
}

// --- calls ---------------------------------------------------------------------------------------

time_point core::later(time_point now, caf::actor_clock::duration_type after) noexcept {
  return after > no_deadline - now ? no_deadline : now + after;
}

time_point core::deadline(time_point now, caf::actor_clock::duration_type after) const {
  auto* job = loop_.current_job();
  return job ? std::min(later(now, after), job->deadline(now)) : later(now, after);
}

std::uint64_t core::open(operation& op, time_point deadline) {
  base::check(!ended_, "nothing can be awaited after the actor's end");
  if (op.owner) op.owner->begin(op.since());
  if (calls_.size() == 0) caf::intrusive_ptr_add_ref(self_.ctrl());
  return calls_.open(op, deadline);
}

void core::watch(operation& op, const caf::strong_actor_ptr& who) {
  if (auto attachment = calls_.watch(op, who)) who->get()->attach(std::move(attachment));
}

void core::close(operation& op) noexcept {
  if (!op.is_open()) return;
  calls_.close(op);
  if (calls_.size() == 0 && !dispatching_) caf::intrusive_ptr_release(self_.ctrl());
}

std::uint64_t core::call(
    operation& op, call_kind kind, time_point deadline, const caf::strong_actor_ptr& callee,
    caf::mailbox_element_ptr request) {
  const auto number = open(op, deadline);
  watch(op, callee);
  request->mid = call_id{kind, time_left(op.since(), deadline), number}.request();
  request->sender = self_.ctrl();
  callee->get()->enqueue(std::move(request), self_.context());
  return number;
}

template <class Content>
void core::order(const caf::strong_actor_ptr& callee, std::uint64_t number, Content content) {
  callee->get()->enqueue(
      caf::make_mailbox_element(
          self_.ctrl(), call_id::order(number).response(), {}, std::move(content)),
      self_.context());
}

void core::cancel_call(const caf::strong_actor_ptr& callee, std::uint64_t number) noexcept {
  order(callee, number, caf::make_message());
}

void core::grant_credit(
    const caf::strong_actor_ptr& callee, std::uint64_t number, std::uint32_t parts) {
  order(callee, number, parts);
}

bool core::dispatch(caf::mailbox_element& message) {
  using kind = pending_calls::kind;
  const auto what = pending_calls::classify(message.mid);
  if (what == kind::foreign) return false;
  if (ended_) return true;
  self_.current_mailbox_element(&message);
  const bool held = calls_.size() > 0;  // by its operations; let go at the end
  dispatching_ = true;
  const struct guard {  // an answer that can't be read may throw
    core& self;
    bool held;
    ~guard() {
      self.dispatching_ = false;
      if (held && self.calls_.size() == 0) caf::intrusive_ptr_release(self.self_.ctrl());
    }
  } end{*this, held};
  if (what == kind::answer) {
    if (auto* op = calls_.find(call_id{message.mid})) {
      if (op->answered(message.content()) == operation::after_answer::closed) calls_.close(*op);
      wake(*op);
    }
  } else if (what == kind::order) {
    obey(message);
  } else if (what == kind::tick) {
    while (auto* op = calls_.take_expired()) {
      op->expired();
      calls_.close(*op);
      wake(*op);
    }
  } else if (message.content().match_elements<down_signal>()) {
    const auto& signal = message.content().get_as<down_signal>(0);
    while (auto* op = calls_.take_orphan(call_id{message.mid})) {
      op->callee_lost(signal.why);
      wake(*op);
    }
  } else if (message.content().match_elements<probe_signal>()) {
    message.content().get_as<probe_signal>(0).who->visit(*this);
  }
  return true;
}

void core::shut_down() noexcept {
  base::check(!loop_.running(), "an actor ends between its turns");
  // Frames may own scopes and operations, but never start anything.
  while (auto* h = handlers_.drain()) {
    std::exchange(h->resume_point, nullptr).destroy();
    delete h;  // answers
  }
  scopes_.for_each([](scope_base& s) { s.destroy_all(); });
  ended_ = true;
  loop_.run();  // what children that had finished leave to do
  // What lives in the actor itself: a subscription that was moved there.
  std::vector<operation*> left;
  calls_.for_each([&](operation& op) { left.push_back(&op); });
  for (auto* op : left) {
    op->expired();
    close(*op);
  }
  listing_.leave();
  calls_.shut_down();
}

}  // namespace dlls::runtime::detail

// The coroutine side of one actor: its run loop, its pending operations, its running handlers.
#pragma once
#include <caf/scheduled_actor.hpp>
#include <chrono>
#include <memory>
#include <vector>

#include "runtime/detail/directory.hpp"
#include "runtime/detail/pending_calls.hpp"
#include "runtime/detail/reply.hpp"
#include "runtime/detail/run_loop.hpp"
#include "runtime/task.hpp"

namespace dlls::runtime::detail {

static_assert(std::is_same_v<time_point, caf::actor_clock::time_point>);

class core;

// A handler's coroutine from its message to its answer. Pooled by the core.
class handler_job final : public job, public tagged_hook<class handler_tag> {
 public:
  void finished() noexcept override;
  void retired() noexcept override;
  std::string name() const override { return name_(); }
  time_point deadline(time_point now) noexcept override;

  const reply& owed() const noexcept { return reply_; }
  std::uint64_t call_number() const noexcept { return call_number_; }

  // A stream's: how many parts the asker has room for.
  bool has_credit() const noexcept { return credit_ > 0; }
  template <class Part>
  void send_part(Part part) {
    --credit_;
    reply_.deliver_part(std::move(part));
  }
  // Resumed when there is credit.
  void wait_for_credit(ready_node& yielding) noexcept;
  bool waits_for_credit() const noexcept { return yielding_ != nullptr; }
  time_point yielding_since() const noexcept { return yielding_since_; }
  bool detached() const noexcept { return detached_; }

 private:
  friend class core;
  class core* core_ = nullptr;
  void (*answer_)(handler_job&) = nullptr;  // moves the result into the reply
  std::string (*name_)() = nullptr;
  promise_base* promise_ = nullptr;
  reply reply_;
  std::uint64_t call_number_ = 0;
  std::uint64_t time_code_ = 0;  // of the request, until it was looked at
  time_point deadline_ = no_deadline;
  bool detached_ = false;  // runs to its end, whatever the asker does
  std::uint64_t credit_ = 0;
  ready_node* yielding_ = nullptr;
  time_point yielding_since_{};
  std::unique_ptr<operation> asker_watch_;  // notices the end of an asker that can't say so

  template <class Task>
  static void answer(handler_job& self);
};

// The handlers that run, found by who asked and the number of the call.
class handler_index {
 public:
  void insert(handler_job& h);
  void erase(handler_job& h) noexcept;
  handler_job* find(const caf::actor_control_block* asker, std::uint64_t number) const noexcept;
  // Takes all out, one a call; null when it is empty. Nothing may be inserted meanwhile.
  handler_job* drain() noexcept;

 private:
  using bucket = hook_list<handler_job, handler_tag>;
  static std::size_t hash(const caf::actor_control_block* asker, std::uint64_t number) noexcept;
  bucket& bucket_of(const caf::actor_control_block* asker, std::uint64_t number) const noexcept;
  void grow();

  std::unique_ptr<bucket[]> buckets_;  // a power of two, or null
  std::size_t bucket_count_ = 0;
  std::size_t size_ = 0;
  std::size_t drained_ = 0;  // buckets
};

// How a handler stands to whoever asked it.
enum class handler_bond : bool {
  attached,  // ends when the asker does or cancels; what it asks inherits the asker's deadline
  detached,  // runs to its end
};

// Lives in its actor; everything here happens on the actor's turns.
class core {
 public:
  explicit core(caf::scheduled_actor& self) : self_(self), calls_(self), listing_(self) {}
  core(const core&) = delete;
  core& operator=(const core&) = delete;

  caf::scheduled_actor& self() noexcept { return self_; }
  run_loop& loop() noexcept { return loop_; }
  time_point now() const { return self_.clock().now(); }
  // `after` from `now`, saturated.
  static time_point later(time_point now, caf::actor_clock::duration_type after) noexcept;
  // The same, and no later than the deadline of the job on the stack.
  time_point deadline(time_point now, caf::actor_clock::duration_type after) const;

  // Opens the operation and asks the callee, who is not null; gives the call's number.
  std::uint64_t call(
      operation& op, call_kind kind, time_point deadline, const caf::strong_actor_ptr& callee,
      caf::mailbox_element_ptr request);
  // As pending_calls; an open operation keeps the actor alive.
  std::uint64_t open(operation& op, time_point deadline);
  void watch(operation& op, const caf::strong_actor_ptr& who);
  void close(operation& op) noexcept;
  std::size_t pending() const noexcept { return calls_.size(); }
  const pending_calls& calls() const noexcept { return calls_; }

  // Tells the callee of call `number` that nobody waits for it any more; or that there is room.
  void cancel_call(const caf::strong_actor_ptr& callee, std::uint64_t number) noexcept;
  void grant_credit(const caf::strong_actor_ptr& callee, std::uint64_t number, std::uint32_t parts);

  // Starts the coroutine of a handler; its result answers the message being handled.
  template <class Task>
  void start_handler(Task t, handler_bond bond, std::string (*name)()) {
    auto* h = new_handler(bond, name, Task::is_stream);
    if (!h) return;
    h->answer_ = &handler_job::answer<Task>;
    h->promise_ = &t.frame().promise();
    loop_.start(t, *h);
    t.release();
  }

  // Emptied with the actor's end, wherever it lives.
  void own(scope_base& s) noexcept { scopes_.push_back(s); }

  // True when the message was an answer, an order, a tick or a signal for us: it is dealt with.
  bool dispatch(caf::mailbox_element& message);
  // The actor's first turn: it is constructed.
  void begun() noexcept { listing_.begun(); }
  // The actor ends: destroys every handler's frame and answers its caller.
  void shut_down() noexcept;

 private:
  friend class handler_job;
  class asker_watch;
  // Null when the message can't be answered by such a handler: it has been told.
  handler_job* new_handler(handler_bond bond, std::string (*name)(), bool streams);
  void recycle(handler_job& h) noexcept;
  void obey(const caf::mailbox_element& order);
  template <class Content>
  void order(const caf::strong_actor_ptr& callee, std::uint64_t number, Content content);
  void cancel(handler_job& h, const base::error& why) noexcept;
  void wake(operation& op) noexcept {
    if (op.resume_point) loop_.make_ready(op);
  }

  caf::scheduled_actor& self_;
  run_loop loop_;
  pending_calls calls_;
  handler_index handlers_;
  hook_list<scope_base, scopes_tag> scopes_;
  std::vector<std::unique_ptr<handler_job>> spare_;
  bool ended_ = false;
  bool dispatching_ = false;
  listing listing_;
};

template <class T>
struct is_result : std::false_type {};
template <class T>
struct is_result<base::result<T>> : std::true_type {
  using value_type = T;
};

// Answers with what a handler returned: a value, nothing, or a base::result of either.
template <class T>
void answer_with(reply& to, T&& value) {
  using plain = std::remove_cvref_t<T>;
  if constexpr (is_result<plain>::value) {
    if (!value) {
      to.fail(value.error());
    } else if constexpr (std::is_void_v<typename is_result<plain>::value_type>) {
      to.deliver();
    } else {
      to.deliver(*std::forward<T>(value));
    }
  } else {
    to.deliver(std::forward<T>(value));
  }
}

base::error caught();  // current_exception_error, without its header

template <class Task>
void handler_job::answer(handler_job& self) {
  try {
    auto& p = static_cast<typename Task::promise_type&>(*self.promise_);
    if constexpr (std::is_void_v<typename Task::value_type> || Task::is_stream) {
      p.take();
      self.reply_.deliver();
    } else {
      answer_with(self.reply_, p.take());
    }
  } catch (...) {
    self.reply_.fail(caught());
  }
}

}  // namespace dlls::runtime::detail

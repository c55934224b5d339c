// The coroutine side of one actor: its run loop, its pending operations, its running handlers.
#pragma once
#include <caf/scheduled_actor.hpp>
#include <chrono>
#include <memory>
#include <vector>

#include "runtime/detail/pending_calls.hpp"
#include "runtime/detail/reply.hpp"
#include "runtime/detail/run_loop.hpp"
#include "runtime/task.hpp"

namespace dlls::runtime::detail {

// A handler's coroutine from its message to its answer. Pooled by the core.
class handler_job final : public job, public chore, public tagged_hook<class handler_tag> {
 public:
  void finished() noexcept override;
  void perform() noexcept override;

 private:
  friend class core;
  class core* core_ = nullptr;
  std::coroutine_handle<> frame_;
  void (*answer_)(handler_job&) = nullptr;  // moves the result into the reply
  promise_base* promise_ = nullptr;
  reply reply_;

  template <class T>
  static void answer(handler_job& self);
};

// Lives in its actor; everything here happens on the actor's turns.
class core {
 public:
  explicit core(caf::scheduled_actor& self) : self_(self), calls_(self) {}
  core(const core&) = delete;
  core& operator=(const core&) = delete;

  caf::scheduled_actor& self() noexcept { return self_; }
  run_loop& loop() noexcept { return loop_; }
  caf::actor_clock::time_point now() const { return self_.clock().now(); }
  // `after` from now, saturated.
  time_point deadline(caf::actor_clock::duration_type after) const;

  // As pending_calls; an open operation keeps the actor alive.
  caf::message_id open(operation& op, time_point deadline);
  void watch(operation& op, const caf::strong_actor_ptr& who);
  void close(operation& op) noexcept;
  std::size_t pending() const noexcept { return calls_.size(); }
  const pending_calls& calls() const noexcept { return calls_; }

  // Starts the coroutine of a handler; its result answers the message being handled.
  template <class T>
  void start_handler(task<T> t) {
    auto& h = new_handler();
    h.answer_ = &handler_job::answer<T>;
    h.promise_ = &t.frame().promise();
    loop_.start(t, h);
    h.frame_ = t.release();
  }

  // True when the message was an answer, a tick or a signal for us: it has been dealt with.
  bool dispatch(caf::mailbox_element& message);
  // The actor ends: destroys every handler's frame and answers its caller.
  void shut_down() noexcept;

 private:
  friend class handler_job;
  handler_job& new_handler();
  void recycle(handler_job& h) noexcept;

  caf::scheduled_actor& self_;
  run_loop loop_;
  pending_calls calls_;
  hook_list<handler_job, handler_tag> handlers_;
  std::vector<std::unique_ptr<handler_job>> spare_;
  bool ended_ = false;
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

template <class T>
void handler_job::answer(handler_job& self) {
  try {
    auto& p = static_cast<promise<T>&>(*self.promise_);
    if constexpr (std::is_void_v<T>) {
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

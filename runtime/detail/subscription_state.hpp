// The receiving end of a stream.
#pragma once
#include <algorithm>
#include <caf/mailbox_element.hpp>
#include <chrono>
#include <deque>
#include <optional>
#include <utility>

#include "base/check.hpp"
#include "base/error.hpp"
#include "runtime/detail/answer.hpp"
#include "runtime/detail/core.hpp"

namespace dlls::runtime::detail {

template <class T>
class next_operation;

// The call, open from the first next() to the stream's end. Nobody is resumed by it: that is
// next_operation's.
template <class T>
class subscription_state final : public operation {
 public:
  subscription_state(
      core& c, caf::strong_actor_ptr callee, std::chrono::nanoseconds within, std::uint32_t window,
      caf::mailbox_element_ptr request)
      : core_(c),
        callee_(std::move(callee)),
        within_(within),
        window_(std::clamp(window, std::uint32_t{1}, window_max)),
        request_(std::move(request)),
        deadline_(c.deadline(c.now(), std::chrono::nanoseconds::max())) {
    if (!callee_) end(base::error{base::errc::unavailable, "asked nobody: the handle is empty"});
  }
  ~subscription_state();

  bool has_outcome() const noexcept { return !arrived_.empty() || ended_; }
  base::result<std::optional<T>> take() {
    if (arrived_.empty()) {
      if (failure_) return *failure_;
      return std::optional<T>{};
    }
    std::optional<T> value{std::move(arrived_.front())};
    arrived_.pop_front();
    // Half a window at a time: one order for several values, and never a stall.
    if (++taken_ >= (window_ + 1) / 2 && is_open()) grant(std::exchange(taken_, 0));
    return value;
  }
  // Sends the request, the first time.
  void begin() {
    if (!request_ || ended_) return;
    begin_at(core_.now());
    if (deadline_ <= since()) return end(late_answer(*callee_));
    core_.call(*this, call_kind::stream, deadline_, callee_, std::move(request_));
    grant(window_);
  }
  // Tells the callee, if it doesn't know yet. What has arrived stays.
  void stop() noexcept {
    if (!is_open()) return;
    core_.cancel_call(callee_, number());
    core_.close(*this);
  }
  void fail(base::error why) {
    stop();
    end(std::move(why));
  }
  base::error silent() const { return late_answer(*callee_); }

  after_answer answered(caf::type_erased_tuple& content) override {
    auto after = after_answer::open;
    if (content.match_elements<part<T>>()) {
      if (room_ == 0) {
        core_.cancel_call(callee_, number());
        end(base::error{
            base::errc::resource_exhausted, "a stream brings more values than it was granted"});
        after = after_answer::closed;
      } else {
        --room_;
        arrived_.push_back(content.move_if_unshared<part<T>>(0).value);
      }
    } else {
      after = after_answer::closed;
      if (content.empty()) {
        end({});
      } else {
        // Its producer has ended, unless the error is the link's: a part too large for it.
        core_.cancel_call(callee_, number());
        end(wrong_answer(content, *callee_));
      }
    }
    wake();
    return after;
  }
  void expired() override {
    core_.cancel_call(callee_, number());
    end(late_answer(*callee_));
    wake();
  }
  void callee_lost(const base::error& why) override {
    end(why);
    wake();
  }
  std::string describe() const override {
    return "the stream of " + runtime::detail::describe(*callee_);
  }

 private:
  friend class next_operation<T>;
  void grant(std::uint32_t parts) {
    room_ += parts;
    core_.grant_credit(callee_, number(), parts);
  }
  void end(std::optional<base::error> failure) {
    ended_ = true;
    failure_ = std::move(failure);
    callee_ = nullptr;
  }
  void wake() noexcept;

  core& core_;
  caf::strong_actor_ptr callee_;  // until it has ended
  std::chrono::nanoseconds within_;
  std::uint32_t window_;
  caf::mailbox_element_ptr request_;
  time_point deadline_;      // of the request that was served when it was made
  std::uint64_t room_ = 0;   // values granted that have not arrived
  std::uint32_t taken_ = 0;  // values taken that no grant has made up for
  std::deque<T> arrived_;
  bool ended_ = false;
  std::optional<base::error> failure_;
  next_operation<T>* waiting_ = nullptr;  // from its start until it is resumed
};

// One next(): a wait of its own, for its own deadline.
template <class T>
class next_operation final : public operation {
 public:
  explicit next_operation(subscription_state<T>& state) noexcept : state_(&state) {}
  next_operation(next_operation&& other) noexcept  // only before it is awaited
      : state_(other.state_) {}
  ~next_operation() {
    if (!state_ || state_->waiting_ != this) return;
    state_->waiting_ = nullptr;
    state_->core_.close(*this);
  }

  bool ready() {
    state_->begin();
    return state_->has_outcome();
  }
  void start(std::coroutine_handle<> waiting) {
    base::check(!state_->waiting_, "the values of a subscription are awaited one at a time");
    suspend(waiting);
    state_->waiting_ = this;
    begin_at(state_->core_.now());
    state_->core_.open(*this, core::later(since(), state_->within_));
  }
  base::result<std::optional<T>> take() {
    if (!state_)
      return base::error{
          base::errc::cancelled, "the subscription was dropped while its next value was awaited"};
    if (state_->waiting_ == this) state_->waiting_ = nullptr;
    return state_->take();
  }

  after_answer answered(caf::type_erased_tuple&) override { return after_answer::closed; }
  void expired() override { state_->fail(state_->silent()); }
  std::string describe() const override { return "a value of " + state_->describe(); }

 private:
  friend class subscription_state<T>;
  subscription_state<T>* state_;  // null: gone meanwhile
};

template <class T>
void subscription_state<T>::wake() noexcept {
  if (!waiting_ || !waiting_->is_open()) return;
  core_.close(*waiting_);
  core_.loop().make_ready(*waiting_);
}

// Whoever waits may be another coroutine than the one that drops it.
template <class T>
subscription_state<T>::~subscription_state() {
  stop();
  wake();
  if (waiting_) waiting_->state_ = nullptr;
}

}  // namespace dlls::runtime::detail

// Tasks that run side by side under one coroutine that waits for them: what gather and race share.
#pragma once
#include <algorithm>
#include <deque>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "runtime/detail/run_loop.hpp"
#include "runtime/task.hpp"

namespace dlls::runtime::detail {

// Counts children down and wakes the parent when what it waits for has happened.
class child_group : public ready_node {
 public:
  enum class until { all_or_failure, first };
  // `deadline`: of the children, where it is earlier than the parent's own.
  explicit child_group(until rule, time_point deadline = no_deadline) noexcept
      : rule_(rule), deadline_(deadline), loop_(run_loop::current()) {}

  void child_done(bool failed) noexcept {
    --running_;
    const bool decides = failed || rule_ == until::first;
    if (woken_ || (!decides && running_ > 0)) return;
    woken_ = true;
    // First, so that no other child runs between the one that decided and its siblings' end.
    if (resume_point) loop_.make_ready_first(*this);
  }
  void add_child() noexcept { ++running_; }

  bool await_ready() const noexcept { return running_ == 0; }
  void await_suspend(std::coroutine_handle<> parent) noexcept { suspend(parent); }
  void await_resume() const noexcept {}
  run_loop& loop() noexcept { return loop_; }
  time_point deadline() const noexcept { return deadline_; }

 private:
  until rule_;
  time_point deadline_;
  run_loop& loop_;
  std::size_t running_ = 0;
  bool woken_ = false;
};

// Owns its task, so that dropping the child cancels it.
template <class T>
class group_child final : public job {
 public:
  struct seed {
    child_group* group;
    task<T> body;
  };
  explicit group_child(seed s) : group_(*s.group), body_(std::move(s.body)) {}
  void start() {
    group_.add_child();
    parent_ = group_.loop().current_job();
    group_.loop().start(body_, *this);
  }
  std::string name() const override { return "a part of a gather or a race"; }
  time_point deadline(time_point now) noexcept override {
    return std::min(group_.deadline(), parent_ ? parent_->deadline(now) : no_deadline);
  }
  job* parent() const noexcept override { return parent_; }
  bool done() const noexcept { return body_.done(); }
  void finished() noexcept override {
    static_cast<tagged_hook<job_tag>&>(*this).unlink();  // kept for its result alone
    group_.child_done(body_.frame().promise().failed());
  }
  void rethrow() {
    if (body_.done() && body_.frame().promise().failed()) body_.frame().promise().take();
  }
  auto take() {
    if constexpr (std::is_void_v<T>) {
      body_.frame().promise().take();
      return std::monostate{};
    } else {
      return body_.frame().promise().take();
    }
  }

 private:
  child_group& group_;
  job* parent_ = nullptr;
  task<T> body_;
};

template <class T>
using value_or_unit = std::conditional_t<std::is_void_v<T>, std::monostate, T>;

template <class Awaitable>
task<typename Awaitable::value_type> as_task(Awaitable awaitable) {
  co_return co_await std::move(awaitable);
}
template <class T>
task<T> as_task(task<T> t) {
  return t;
}

template <class T>
void start_all(
    child_group& group, std::vector<task<T>>& bodies, std::deque<group_child<T>>& children) {
  for (auto& body : bodies) {
    children.emplace_back(typename group_child<T>::seed{&group, std::move(body)});
  }
  for (auto& child : children) child.start();
}

}  // namespace dlls::runtime::detail

// Several tasks at once, all results or the first failure.
//
//   auto [a, b] = co_await gather(first(), second());         // tuple; void gives std::monostate
//   auto all = co_await gather(std::move(vector_of_tasks));   // vector<T>, or nothing for
//   task<void>
//
// Starts all, in order. When one fails, the others are cancelled (destroyed, their pending
// operations with them) and its exception is rethrown. Awaitables such as ask(...) may stand for
// tasks. Cancelled with the coroutine that awaits it.
#pragma once
#include <deque>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "runtime/detail/run_loop.hpp"
#include "runtime/task.hpp"

namespace dlls::runtime {

namespace detail {

// Counts children down and wakes the parent at the end or at the first failure.
class gather_group : public ready_node {
 public:
  void child_done(bool failed) noexcept {
    --running_;
    if (woken_ || (!failed && running_ > 0)) return;
    woken_ = true;
    // First, so that no other child runs between a failure and its siblings' end.
    if (loop_) loop_->make_ready_first(*this);
  }
  void add_child() noexcept { ++running_; }

  bool await_ready() const noexcept { return running_ == 0; }
  void await_suspend(std::coroutine_handle<> parent) noexcept { resume_point = parent; }
  void await_resume() const noexcept {}
  run_loop& loop() noexcept {
    if (!loop_) loop_ = &run_loop::current();
    return *loop_;
  }

 private:
  run_loop* loop_ = nullptr;
  std::size_t running_ = 0;
  bool woken_ = false;
};

// Owns its task, so that dropping the child cancels it.
template <class T>
class gather_child final : public job {
 public:
  struct seed {
    gather_group* group;
    task<T> body;
  };
  explicit gather_child(seed s) : group_(*s.group), body_(std::move(s.body)) {}
  void start() {
    group_.add_child();
    group_.loop().start(body_, *this);
  }
  void finished() noexcept override { group_.child_done(body_.frame().promise().failed()); }
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
  gather_group& group_;
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

// When a child failed, the parent runs next: the exception leaves these functions, and with their
// frames go the other children.
template <class... Ts>
task<std::tuple<value_or_unit<Ts>...>> gather_all(task<Ts>... bodies) {
  gather_group group;
  std::tuple<gather_child<Ts>...> children{
      typename gather_child<Ts>::seed{&group, std::move(bodies)}...};
  std::apply([](auto&... child) { (child.start(), ...); }, children);
  co_await group;
  std::apply([](auto&... child) { (child.rethrow(), ...); }, children);
  co_return std::apply(
      [](auto&... child) { return std::tuple<value_or_unit<Ts>...>{child.take()...}; }, children);
}

template <class T>
void start_all(
    gather_group& group, std::vector<task<T>>& bodies, std::deque<gather_child<T>>& children) {
  for (auto& body : bodies) {
    children.emplace_back(typename gather_child<T>::seed{&group, std::move(body)});
  }
  for (auto& child : children) child.start();
}

}  // namespace detail

template <class... Awaitables>
auto gather(Awaitables... bodies) {
  return detail::gather_all(detail::as_task(std::move(bodies))...);
}

template <class T>
task<std::vector<T>> gather(std::vector<task<T>> bodies) {
  detail::gather_group group;
  std::deque<detail::gather_child<T>> children;
  detail::start_all(group, bodies, children);
  co_await group;
  for (auto& child : children) child.rethrow();
  std::vector<T> results;
  results.reserve(children.size());
  for (auto& child : children) results.push_back(child.take());
  co_return results;
}

inline task<void> gather(std::vector<task<void>> bodies) {
  detail::gather_group group;
  std::deque<detail::gather_child<void>> children;
  detail::start_all(group, bodies, children);
  co_await group;
  for (auto& child : children) child.rethrow();
}

}  // namespace dlls::runtime

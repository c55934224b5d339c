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
#include <tuple>
#include <utility>
#include <vector>

#include "runtime/detail/child_group.hpp"

namespace dlls::runtime {

namespace detail {

// When a child failed, the parent runs next: the exception leaves these functions, and with their
// frames go the other children.
template <class... Ts>
task<std::tuple<value_or_unit<Ts>...>> gather_all(task<Ts>... bodies) {
  child_group group{child_group::until::all_or_failure};
  std::tuple<group_child<Ts>...> children{
      typename group_child<Ts>::seed{&group, std::move(bodies)}...};
  std::apply([](auto&... child) { (child.start(), ...); }, children);
  co_await group;
  std::apply([](auto&... child) { (child.rethrow(), ...); }, children);
  co_return std::apply(
      [](auto&... child) { return std::tuple<value_or_unit<Ts>...>{child.take()...}; }, children);
}

}  // namespace detail

template <class... Awaitables>
auto gather(Awaitables... bodies) {
  return detail::gather_all(detail::as_task(std::move(bodies))...);
}

template <class T>
task<std::vector<T>> gather(std::vector<task<T>> bodies) {
  detail::child_group group{detail::child_group::until::all_or_failure};
  std::deque<detail::group_child<T>> children;
  detail::start_all(group, bodies, children);
  co_await group;
  for (auto& child : children) child.rethrow();
  std::vector<T> results;
  results.reserve(children.size());
  for (auto& child : children) results.push_back(child.take());
  co_return results;
}

inline task<void> gather(std::vector<task<void>> bodies) {
  detail::child_group group{detail::child_group::until::all_or_failure};
  std::deque<detail::group_child<void>> children;
  detail::start_all(group, bodies, children);
  co_await group;
  for (auto& child : children) child.rethrow();
}

}  // namespace dlls::runtime

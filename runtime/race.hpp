// Several tasks at once, and only the first to end counts.
//
//   auto won = co_await race(from_cache(key), from_disk(key));   // variant<A, B>; void: monostate
//   auto [index, value] = co_await race(std::move(vector_of_tasks));
//
// Starts all, in order. The first that ends decides, by its result or by its exception, which is
// rethrown; the others are cancelled (destroyed, their pending operations with them) before the
// awaiting coroutine goes on. Of those that end on the same turn the one that ended first wins.
// Awaitables such as ask(...) may stand for tasks. Cancelled with the coroutine that awaits it.
//
// A loser's side effects so far stand; what it has asked of others is cancelled (ask.hpp).
#pragma once
#include <cstddef>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "base/check.hpp"
#include "runtime/detail/child_group.hpp"

namespace dlls::runtime {

// What a race of a vector gives: which one won, from 0, and its result.
template <class T>
struct raced {
  std::size_t index = 0;
  T value;
};
template <>
struct raced<void> {
  std::size_t index = 0;
};

namespace detail {

// Exactly one has ended: the group wakes its parent before any other child runs.
template <std::size_t... I, class... Ts>
std::variant<value_or_unit<Ts>...> take_winner(
    std::index_sequence<I...>, std::tuple<group_child<Ts>...>& children) {
  std::variant<value_or_unit<Ts>...> won;
  const auto take = [&]<std::size_t N>(std::integral_constant<std::size_t, N>) {
    auto& child = std::get<N>(children);
    if (child.done()) won.template emplace<N>(child.take());
  };
  (take(std::integral_constant<std::size_t, I>{}), ...);
  return won;
}

template <class... Ts>
task<std::variant<value_or_unit<Ts>...>> race_all(time_point deadline, task<Ts>... bodies) {
  child_group group{child_group::until::first, deadline};
  std::tuple<group_child<Ts>...> children{
      typename group_child<Ts>::seed{&group, std::move(bodies)}...};
  std::apply([](auto&... child) { (child.start(), ...); }, children);
  co_await group;
  co_return take_winner(std::index_sequence_for<Ts...>{}, children);
}

}  // namespace detail

template <class... Awaitables>
auto race(Awaitables... bodies) {
  static_assert(sizeof...(Awaitables) > 0, "a race of nobody never ends");
  return detail::race_all(detail::no_deadline, detail::as_task(std::move(bodies))...);
}

// A race of none is a bug.
template <class T>
task<raced<T>> race(std::vector<task<T>> bodies) {
  base::check(!bodies.empty(), "a race of nobody never ends");
  detail::child_group group{detail::child_group::until::first};
  std::deque<detail::group_child<T>> children;
  detail::start_all(group, bodies, children);
  co_await group;
  std::size_t index = 0;
  while (!children[index].done()) ++index;
  if constexpr (std::is_void_v<T>) {
    children[index].take();
    raced<T> won{index};
    co_return won;
  } else {
    raced<T> won{index, children[index].take()};
    co_return won;
  }
}

}  // namespace dlls::runtime

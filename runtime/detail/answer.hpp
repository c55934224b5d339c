// The answer to a request: its type at compile time, its value out of a message.
#pragma once
#include <caf/error.hpp>
#include <caf/response_type.hpp>
#include <caf/typed_actor.hpp>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>

#include "base/error.hpp"
#include "runtime/part.hpp"

namespace dlls::runtime::detail {

// Stands for "read it from the handle's interface".
struct deduced {};

// A list of answer values (CAF uses several templates for it) as one type: void, T, or
// tuple<Ts...>.
template <class... Ts>
struct one_of_all {
  using type = std::tuple<Ts...>;
};
template <>
struct one_of_all<> {
  using type = void;
};
template <class T>
struct one_of_all<T> {
  using type = T;
};
template <class List>
struct as_one;
template <template <class...> class List, class... Ts>
struct as_one<List<Ts...>> : one_of_all<Ts...> {};

template <class T>
inline constexpr bool is_tuple = false;
template <class... Ts>
inline constexpr bool is_tuple<std::tuple<Ts...>> = true;

template <class R, class Handle, class... Ts>
struct answer_type_of {
  using type = R;
};
template <class... Sigs, class... Ts>
struct answer_type_of<deduced, caf::typed_actor<Sigs...>, Ts...> {
  using request = caf::detail::type_list<typename caf::detail::implicit_conversions<Ts>::type...>;
  using found = caf::response_type_unbox<caf::detail::type_list<Sigs...>, request>;
  static_assert(found::valid, "the callee's interface does not accept this message");
  using type = typename as_one<typename found::type>::type;
};
template <class... Ts>
struct answer_type_of<deduced, caf::actor, Ts...> {
  static_assert(sizeof...(Ts) < 0, "name the answer's type: ask<R>(this, actor, ...)");
};
template <class R, class Handle, class... Ts>
using answer_type = typename answer_type_of<R, Handle, Ts...>::type;

// "actor 7@<node>", for error texts.
std::string describe(const caf::actor_control_block& who);

base::error late_answer(const caf::actor_control_block& who);
// What a message is that is not the expected answer: the error inside it, or `internal`.
base::error wrong_answer(
    const caf::type_erased_tuple& content, const caf::actor_control_block& who);

// Moves the answer out, or copies it when others share the message.
template <class R>
base::result<R> read_answer(caf::type_erased_tuple& content, const caf::actor_control_block& who) {
  if constexpr (std::is_void_v<R>) {
    if (content.empty() || content.match_elements<caf::unit_t>()) return {};
  } else if constexpr (is_tuple<R>) {
    return [&]<class... Ts, std::size_t... Is>(std::tuple<Ts...>*, std::index_sequence<Is...>) {
      if (!content.match_elements<Ts...>())
        return base::result<R>{boost::system::in_place_error, wrong_answer(content, who)};
      return base::result<R>{R{content.move_if_unshared<Ts>(Is)...}};
    }(static_cast<R*>(nullptr), std::make_index_sequence<std::tuple_size_v<R>>{});
  } else {
    if (content.match_elements<R>()) return content.move_if_unshared<R>(0);
  }
  return base::result<R>{boost::system::in_place_error, wrong_answer(content, who)};
}

}  // namespace dlls::runtime::detail

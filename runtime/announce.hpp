// One list announces all message types that cross a process border.
//
//   using wire = runtime::message_list<hello, welcome, progress>;
//   static_assert(wire::covers<door>);                       // every type that the interface names
//   auto host = runtime::make_system({.announce = wire::announce});
//
// Why the check: a type that was not announced arrives, silently, as an empty message.
#pragma once
#include <caf/actor_system_config.hpp>
#include <caf/type_nr.hpp>
#include <caf/typed_actor.hpp>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "runtime/detail/type_name.hpp"
#include "runtime/part.hpp"

namespace dlls::runtime {

namespace detail {

template <class T>
concept names_itself = requires {
  { T::wire_name } -> std::convertible_to<std::string_view>;
};

}  // namespace detail

// The name of a message type on the wire: `T::wire_name` when it has one, else its qualified C++
// name ("dlls::actors::hello"), the same on every node. Renaming a type changes the protocol.
template <class T>
constexpr std::string_view wire_name() {
  if constexpr (detail::names_itself<T>)
    return T::wire_name;
  else
    return detail::qualified_name<T>();
}

template <class... Ts>
struct message_list {
  // CAF knows T by itself (numbers, std::string, caf::actor ...), or it is on the list, or it is a
  // vector of what is on the list (CAF announces those along).
  template <class T>
  static constexpr bool contains = caf::type_nr<T>::value != 0 || (std::is_same_v<T, Ts> || ...) ||
                                   (std::is_same_v<T, std::vector<Ts>> || ...);

 private:
  // CAF's signature: a list of the request's parts and a list of the answer's.
  template <
      template <class, class> class Signature, template <class...> class In, class... Requests,
      template <class...> class Out, class... Answers>
  static constexpr bool has_signature(Signature<In<Requests...>, Out<Answers...>>*) {
    return ((std::is_void_v<Requests> || contains<Requests>)&&...) &&
           ((std::is_void_v<Answers> || contains<Answers>)&&...);
  }
  template <class... Signatures>
  static constexpr bool covers_all(caf::typed_actor<Signatures...>*) {
    return (has_signature(static_cast<Signatures*>(nullptr)) && ...);
  }

 public:
  // Every type in every request and answer of a caf::typed_actor.
  template <class Interface>
  static constexpr bool covers = message_list::covers_all(static_cast<Interface*>(nullptr));

  static void announce(caf::actor_system_config& config) {
    (config.add_message_type<Ts>(std::string{wire_name<Ts>()}), ...);
  }
};

// The short form, for a list that nothing is checked against.
template <class... Ts>
void announce(caf::actor_system_config& config) {
  message_list<Ts...>::announce(config);
}

}  // namespace dlls::runtime

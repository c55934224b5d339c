// The list of message types that may cross a link; whatever is not on it closes the link.
//
// CAF writes the types of a message's elements in front of them ("@<>+hello+@i32"). The gate
// compares that text with this list before anything is deserialised. Answers that carry nothing, or
// an error with no context or texts as context, are always allowed, and so are cancellations and
// credit of calls that came over the link.
#pragma once
#include <caf/atom.hpp>
#include <caf/detail/type_list.hpp>
#include <caf/fwd.hpp>
#include <caf/replies_to.hpp>
#include <caf/type_nr.hpp>
#include <cstdint>
#include <functional>
#include <set>
#include <string>
#include <type_traits>
#include <typeinfo>
#include <vector>

#include "runtime/part.hpp"

namespace dlls::runtime::link {

// A value type. Names are looked up when an endpoint is made, in its actor system: a type that was
// never announced there (add_message_type) would arrive as an empty message, so it aborts instead.
//
// Keep types off the list that carry actor handles, caf::message or caf::error inside them: what
// those smuggle is not looked at. Answers travel through proxies, so no handle is needed.
class gate_rules {
 public:
  // Messages and answers with exactly these elements, in this order.
  template <class... Ts>
  gate_rules& allow() {
    messages_.push_back(signature_of<Ts...>());
    answers_.push_back(messages_.back());
    return *this;
  }

  // A typed actor's interface (caf::typed_actor<...>): its inputs as messages, its outputs as
  // answers, where they are part<T> as parts of a stream.
  template <class Handle>
  gate_rules& allow_interface() {
    allow_all(typename Handle::signatures{});
    return *this;
  }

  // The allowed texts, as CAF writes them.
  using text_set = std::set<std::string, std::less<>>;  // looked up by parts of a frame
  struct texts {
    text_set messages;
    text_set answers;
    text_set parts;  // of answers that are streams
  };
  texts resolve(const caf::actor_system& system) const;

 private:
  struct element {
    std::uint16_t number = 0;  // CAF's number for a built-in type, else 0
    const std::type_info* type = nullptr;
  };
  using signature = std::vector<element>;

  template <class T>
  static constexpr bool is_plain =
      !std::is_same_v<T, caf::actor> && !std::is_same_v<T, caf::strong_actor_ptr> &&
      !std::is_same_v<T, caf::actor_addr> && !std::is_same_v<T, caf::message> &&
      !std::is_same_v<T, caf::error> && !std::is_same_v<T, caf::exit_msg> &&
      !std::is_same_v<T, caf::down_msg>;

  template <class T>
  static element element_of() {
    using kept = std::conditional_t<caf::is_atom_constant<T>::value, caf::atom_value, T>;
    return {caf::type_nr<kept>::value, &typeid(kept)};
  }

  template <class... Ts>
  static signature signature_of() {
    static_assert(sizeof...(Ts) > 0);
    static_assert(
        (is_plain<runtime::detail::without_part<Ts>> && ...),
        "what hides in a handle or a message is not gated");
    return {element_of<Ts>()...};
  }

  template <class... Signatures>
  void allow_all(caf::detail::type_list<Signatures...>) {
    (allow_one(Signatures{}), ...);
  }
  template <class... Ins, class... Outs>
  void allow_one(caf::typed_mpi<caf::detail::type_list<Ins...>, caf::output_tuple<Outs...>>) {
    messages_.push_back(signature_of<Ins...>());
    if constexpr ((runtime::detail::is_part<Outs> || ...))
      parts_.push_back(signature_of<Outs...>());
    else if constexpr (!(std::is_void_v<Outs> || ...))
      answers_.push_back(signature_of<Outs...>());
  }

  std::vector<signature> messages_;
  std::vector<signature> answers_;
  std::vector<signature> parts_;
};

}  // namespace dlls::runtime::link

// part<T>: how an interface says that an answer is a stream.
//
//   using door = caf::typed_actor<caf::replies_to<generate>::with<runtime::part<token>>>;
//   using wire = runtime::message_list<generate, token, runtime::part<token>>;
//
// The handler returns a stream<token> (stream.hpp), the asker subscribes (subscribe.hpp).
#pragma once
#include <caf/meta/type_name.hpp>
#include <cstdint>
#include <string>
#include <utility>

namespace dlls::runtime {

// A subscriber's window is at most this many values, and a producer believes in no more.
inline constexpr std::uint32_t window_max = 256;

// One value of a streamed answer on its way. T is a message type: announced, copyable.
template <class T>
struct part {
  T value{};
  part() = default;
  explicit part(T v) : value(std::move(v)) {}
  friend bool operator==(const part&, const part&) = default;
};

namespace detail {

template <class T>
inline constexpr bool is_part = false;
template <class T>
inline constexpr bool is_part<part<T>> = true;

template <class T>
struct value_of {
  using type = T;
};
template <class T>
struct value_of<part<T>> {
  using type = T;
};
template <class T>
using without_part = typename value_of<T>::type;

}  // namespace detail

template <class Inspector, class T>
typename Inspector::result_type inspect(Inspector& f, part<T>& x) {
  return f(caf::meta::type_name("part"), x.value);
}

}  // namespace dlls::runtime

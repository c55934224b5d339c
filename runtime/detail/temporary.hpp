// A guard against a miscompilation. GCC 12.2 copies some temporaries inside a `co_await` expression
// bit by bit and destroys both copies: aggregates (`co_await ask(this, h, 5s, agg{"x"})`) and
// closures (`co_await offload(this, pool, [text] { ... })`), at every optimisation level. Harmless
// for what is trivially destructible; a double free for the rest. So these are refused here at
// compile time. Named objects are safe, and so are temporaries of types with constructors.
#pragma once
#include <type_traits>
#include <utility>

namespace dlls::runtime {

// Hands a named function object over by moving:  offload(this, pool, take(work))
template <class Function>
struct taken {
  Function& function;
};
template <class Function>
taken<Function> take(Function& function) noexcept {
  return {function};
}

namespace detail {

// T as deduced for a forwarding reference T&&.
template <class T>
inline constexpr bool safe_function =
    std::is_lvalue_reference_v<T> || std::is_trivially_destructible_v<T>;
template <class T>
inline constexpr bool safe_message = safe_function<T> || !std::is_aggregate_v<T>;

template <class T>
struct function_type {
  using type = std::decay_t<T>;
};
template <class Function>
struct function_type<taken<Function>> {
  using type = Function;
};

template <class T>
typename function_type<std::remove_cvref_t<T>>::type own(T&& function) {
  using plain = std::remove_cvref_t<T>;
  if constexpr (
      std::is_same_v<typename function_type<plain>::type, plain> || std::is_function_v<plain>) {
    return std::forward<T>(function);
  } else {
    return std::move(function.function);
  }
}
template <class T>
using owned_function = decltype(own(std::declval<T>()));

}  // namespace detail
}  // namespace dlls::runtime

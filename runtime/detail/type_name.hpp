// The C++ name of a type, as the compiler prints it.
#pragma once
#include <string>
#include <string_view>

namespace dlls::runtime::detail {

template <class T>
constexpr std::string_view qualified_name() {
  std::string_view text = __PRETTY_FUNCTION__;
  const auto from = text.find("T = ") + 4;
  return text.substr(from, text.find_first_of(";]", from) - from);
}

// "hello" or "hello, int": what a handler takes.
template <class... Ts>
std::string names_of() {
  std::string all;
  ((all.append(all.empty() ? "" : ", ").append(qualified_name<Ts>())), ...);
  return all;
}

}  // namespace dlls::runtime::detail

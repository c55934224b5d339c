// `key=value` arguments, which these benchmarks share.
#pragma once
#include <cstdlib>
#include <initializer_list>
#include <string_view>
#include <utility>

namespace dlls {

// False: no such key.
inline bool set_number(
    std::string_view argument,
    std::initializer_list<std::pair<std::string_view, std::size_t*>> numbers) {
  const auto equals = argument.find('=');
  if (equals == std::string_view::npos) return false;
  for (const auto& [name, into] : numbers) {
    if (argument.substr(0, equals) != name) continue;
    *into = std::strtoull(argument.data() + equals + 1, nullptr, 10);
    return true;
  }
  return false;
}

}  // namespace dlls

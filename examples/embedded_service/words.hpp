// What front and worker say to each other: one request, one answer.
#pragma once
#include <dlls/runtime/announce.hpp>
#include <dlls/runtime/link/options.hpp>

#include <caf/all.hpp>
#include <cstdint>
#include <string>
#include <utility>

namespace words {
namespace base = dlls::base;
namespace link = dlls::runtime::link;  // not in the global namespace: POSIX has a link() there
namespace runtime = dlls::runtime;

struct count_file {
  std::string name;  // in the worker's folder
  count_file() = default;
  explicit count_file(std::string n) : name(std::move(n)) {}
};
template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, count_file& x) {
  return f(caf::meta::type_name("count_file"), x.name);
}

struct counted {
  std::uint64_t words = 0;
  std::uint64_t lines = 0;
};
template <class Inspector>
typename Inspector::result_type inspect(Inspector& f, counted& x) {
  return f(caf::meta::type_name("counted"), x.words, x.lines);
}

using counter_actor = caf::typed_actor<caf::replies_to<count_file>::with<counted>>;
using wire = runtime::message_list<count_file, counted>;
static_assert(wire::covers<counter_actor>);

// Both sides: nothing but this interface crosses the link, and only equal versions link.
inline link::options link_options() {
  link::options options;
  options.protocol_version = 1;
  options.rules.allow_interface<counter_actor>();
  return options;
}

}  // namespace words

#include "runtime/detail/answer.hpp"

#include <fmt/core.h>

#include <caf/actor_control_block.hpp>
#include <caf/node_id.hpp>

#include "runtime/caf_error.hpp"

namespace dlls::runtime::detail {

std::string describe(const caf::actor_control_block& who) {
  const auto node = to_string(who.nid);
  if (node == "invalid-node") return fmt::format("actor {}", who.aid);  // a system without network
  return fmt::format("actor {}@{}", who.aid, node);
}

base::error late_answer(const caf::actor_control_block& who) {
  return {base::errc::deadline_exceeded, fmt::format("no answer from {} in time", describe(who))};
}

base::error wrong_answer(
    const caf::type_erased_tuple& content, const caf::actor_control_block& who) {
  if (content.match_elements<caf::error>()) {
    return from_caf(content.get_as<caf::error>(0), describe(who));
  }
  return {
      base::errc::internal,
      fmt::format(
          "{} answered with an unexpected type{}", describe(who),
          content.empty() ? ": an empty message" : ""),
      content.empty() ? "was the answer's type announced on both sides?" : ""};
}

}  // namespace dlls::runtime::detail

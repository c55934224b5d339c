#include "runtime/link/gate_rules.hpp"

#include <fmt/core.h>

#include <caf/actor_system.hpp>
#include <caf/uniform_type_info_map.hpp>

#include "base/check.hpp"

namespace dlls::runtime::link {

gate_rules::texts gate_rules::resolve(const caf::actor_system& system) const {
  const auto written = [&](const std::vector<signature>& all) {
    text_set found;
    for (const auto& elements : all) {
      std::string text = "@<>";
      for (const auto& e : elements) {
        const auto& name = system.types().portable_name(e.number, e.type);
        const auto why = fmt::format(
            "the message type {} is announced (add_message_type) to the system of its link",
            e.type->name());
        base::check(!name.empty(), why.c_str());
        text += '+' + name;
      }
      found.insert(std::move(text));
    }
    return found;
  };
  return {written(messages_), written(answers_), written(parts_)};
}

}  // namespace dlls::runtime::link

// The messages that also stand on a disk or in a request, as JSON (Boost.JSON).
#pragma once
#include <boost/json/value.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "actors/messages.hpp"
#include "base/error.hpp"

namespace dlls::actors {

boost::json::value to_json(const artifact_ref& artifact);
boost::json::value to_json(const std::vector<artifact_ref>& artifacts);
boost::json::value to_json(const manifest& result);
boost::json::value to_json(const generation_spec& spec);
// In OpenAI's form.
boost::json::value to_json(const std::vector<tool_call>& calls);

// corrupt, with the member's name, for a missing member or a wrong type.
base::result<std::vector<artifact_ref>> artifacts_from(const boost::json::value& value);
// The inputs that a job's specification names; none when it names none.
base::result<std::vector<artifact_ref>> inputs_of(std::string_view spec_json);
base::result<manifest> manifest_from(const boost::json::value& value);
// The same from a manifest's text, as the ledger keeps it.
base::result<manifest> manifest_of(std::string_view text);
// invalid_argument, with the member's name; members not named in generation_spec are ignored.
base::result<generation_spec> generation_from(const boost::json::value& value);

// Depth at most 32; corrupt with the place for text that is no JSON.
base::result<boost::json::value> parse_json(std::string_view text);

// The value, or another for any error.
template <class T>
T value_or(base::result<T> from, T otherwise) {
  return from ? std::move(*from) : std::move(otherwise);
}

// Typed members of an object; the second form gives `otherwise` for a missing or null member.
base::result<std::string> text_member(const boost::json::value& object, std::string_view name);
base::result<std::string> text_member(
    const boost::json::value& object, std::string_view name, std::string otherwise);
base::result<double> number_member(
    const boost::json::value& object, std::string_view name, double otherwise);
// Whole numbers from `low` to `high`; invalid_argument outside.
base::result<std::uint64_t> whole_member(
    const boost::json::value& object, std::string_view name, std::uint64_t otherwise,
    std::uint64_t low, std::uint64_t high);

}  // namespace dlls::actors

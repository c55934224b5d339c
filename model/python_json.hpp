// JSON in the spelling that chat models were trained on: Python's. Internal to model/chat_*.cpp.
#pragma once
#include <boost/json/value.hpp>
#include <string>
#include <string_view>

namespace dlls::model {

// What json.dumps(value, ensure_ascii=False, indent=...) writes: ", " and ": " between parts, or
// one part a line, `indent` spaces deeper than what holds it. Members keep their order.
std::string python_json(const boost::json::value& value, std::size_t indent = 0);
std::string python_json(std::string_view text);

}  // namespace dlls::model

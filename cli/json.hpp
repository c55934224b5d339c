// Reading what the server answered; the program trusts it no further than types.
#pragma once
#include <boost/json.hpp>
#include <string>
#include <string_view>

#include "base/error.hpp"

namespace dlls::cli {

namespace json = boost::json;

// The answer as JSON; internal when the server sent something else.
base::result<json::value> parsed(const base::result<std::string>& answer);
// A member's text, number or flag; a default when it is missing or null.
std::string text_of(const json::value& object, std::string_view name);
double number_of(const json::value& object, std::string_view name, double otherwise = 0);
bool flag_of(const json::value& object, std::string_view name);
// A member that is a list; empty when it is missing.
json::array list_of(const json::value& object, std::string_view name);

}  // namespace dlls::cli

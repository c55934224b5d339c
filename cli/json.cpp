#include "cli/json.hpp"

namespace dlls::cli {
namespace {

const json::value* member(const json::value& object, std::string_view name) {
  const auto* members = object.if_object();
  return members ? members->if_contains(name) : nullptr;
}

}  // namespace

base::result<json::value> parsed(const base::result<std::string>& answer) {
  if (!answer) return answer.error();
  boost::system::error_code failed;
  auto value = json::parse(*answer, failed);
  if (failed) return base::error{base::errc::internal, "the server's answer is no JSON"};
  return value;
}

std::string text_of(const json::value& object, std::string_view name) {
  const auto* found = member(object, name);
  if (!found || !found->is_string()) return "";
  return std::string{found->get_string()};
}

double number_of(const json::value& object, std::string_view name, double otherwise) {
  const auto* found = member(object, name);
  return found && found->is_number() ? found->to_number<double>() : otherwise;
}

bool flag_of(const json::value& object, std::string_view name) {
  const auto* found = member(object, name);
  return found && found->is_bool() && found->get_bool();
}

json::array list_of(const json::value& object, std::string_view name) {
  const auto* found = member(object, name);
  return found && found->is_array() ? found->get_array() : json::array{};
}

}  // namespace dlls::cli

// OpenAI's objects, and ours in their manner, from the backend's values.
#pragma once
#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "gateway/backend.hpp"
#include "gateway/detail/exchange.hpp"

namespace dlls::gateway::detail {

// The gateway's JSON strings are always valid UTF-8, whatever the backend gave.
boost::json::string text_value(std::string_view text);
boost::json::value text_or_null(std::string_view text);
// A JSON text of the backend's; null when it is none.
boost::json::value parsed_or_null(std::string_view json);

response json_response(const boost::json::object& body);

boost::json::object model_object(const model_info& m);
boost::json::object file_object(const file_info& f);
boost::json::object usage_object(const token_usage& u);
boost::json::object fine_tuning_object(const job_info& j);
boost::json::object fine_tuning_event_object(const job_event& e);
boost::json::object job_object(const job_info& j);
boost::json::object progress_object(const std::string& job, const job_progress& p);

// {"object":"list","data":[...],"has_more"} with first_id and last_id.
template <class T, class F>
response list_response(const std::vector<T>& items, bool has_more, F to_object) {
  boost::json::array data;
  data.reserve(items.size());
  for (const auto& item : items) data.push_back(to_object(item));
  boost::json::object list;
  list["object"] = "list";
  const auto id_of = [](const boost::json::value& v) { return v.as_object().at("id"); };
  list["first_id"] = data.empty() ? boost::json::value{} : id_of(data.front());
  list["last_id"] = data.empty() ? boost::json::value{} : id_of(data.back());
  list["data"] = std::move(data);
  list["has_more"] = has_more;
  return json_response(list);
}

}  // namespace dlls::gateway::detail

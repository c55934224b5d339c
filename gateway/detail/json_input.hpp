// Reading a JSON body strictly and naming what is wrong with it: the first problem is kept with the
// parameter's path, later reads give defaults, and the route asks once at the end.
#pragma once
#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "gateway/detail/errors.hpp"

namespace dlls::gateway::detail {

inline constexpr std::size_t json_depth_max = 64;

// Well-formed JSON of at most json_depth_max levels, UTF-8, finite numbers.
base::result<boost::json::value> parse_json(std::string_view text);

using problem = std::optional<api_error>;

// A view of one object; `at` is its own path ("method.supervised"), empty for the body. A member
// that is null counts as missing; unknown members are ignored. The object must outlive the reader.
class object_reader {
 public:
  object_reader(const boost::json::object& in, std::string at, problem& first)
      : in_(&in), at_(std::move(at)), first_(&first) {}

  const boost::json::value* find(std::string_view name) const;
  std::string path(std::string_view name) const;
  void fail(std::string_view name, std::string message, std::string code = "invalid_value") const;

  std::optional<std::string> text(std::string_view name, std::size_t bytes_max) const;
  std::string required_text(std::string_view name, std::size_t bytes_max) const;
  std::optional<bool> boolean(std::string_view name) const;
  // Inclusive bounds. An integer may be written 3 or 3.0.
  std::optional<double> number(std::string_view name, double min, double max) const;
  std::optional<std::int64_t> integer(
      std::string_view name, std::int64_t min, std::int64_t max) const;
  std::optional<object_reader> object(std::string_view name) const;
  const boost::json::array* array(std::string_view name, std::size_t items_max) const;
  const boost::json::object& raw() const { return *in_; }

 private:
  void wrong_type(std::string_view name, std::string_view wanted) const;
  const boost::json::object* in_;
  std::string at_;
  problem* first_;
};

// The body as an object; else the problem is set and the reader sees an empty one.
struct json_body {
  boost::json::value value;
  problem first;
  explicit json_body(std::string_view text);
  object_reader reader() { return {value.as_object(), "", first}; }
};

// OpenAI's metadata: at most 16 pairs of strings, 64 and 512 characters. "{}" when missing.
std::string read_metadata(const object_reader& body);

}  // namespace dlls::gateway::detail

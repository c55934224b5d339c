#include "gateway/detail/json_input.hpp"

#include <fmt/format.h>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <cmath>

namespace dlls::gateway::detail {
namespace json = boost::json;
namespace {

constexpr std::size_t metadata_pairs_max = 16;
constexpr std::size_t metadata_key_bytes_max = 64;
constexpr std::size_t metadata_value_bytes_max = 512 * 4;  // 512 characters of UTF-8

std::string_view kind_of(const json::value& v) {
  switch (v.kind()) {
    case json::kind::null:
      return "null";
    case json::kind::bool_:
      return "a boolean";
    case json::kind::int64:
    case json::kind::uint64:
    case json::kind::double_:
      return "a number";
    case json::kind::string:
      return "a string";
    case json::kind::array:
      return "an array";
    case json::kind::object:
      return "an object";
  }
  return "something else";
}

std::string number_text(double v) { return fmt::format("{:g}", v); }

}  // namespace

base::result<json::value> parse_json(std::string_view text) {
  json::parse_options options;
  options.max_depth = json_depth_max;
  boost::system::error_code ec;
  auto value = json::parse(json::string_view{text.data(), text.size()}, ec, {}, options);
  if (ec)
    return base::error{base::errc::invalid_argument, "the body is not valid JSON: " + ec.message()};
  return value;
}

const json::value* object_reader::find(std::string_view name) const {
  const auto* v = in_->if_contains(json::string_view{name.data(), name.size()});
  return v && !v->is_null() ? v : nullptr;
}

std::string object_reader::path(std::string_view name) const {
  return at_.empty() ? std::string{name} : at_ + "." + std::string{name};
}

void object_reader::fail(std::string_view name, std::string message, std::string code) const {
  if (!*first_) *first_ = bad_request(std::move(message), path(name), std::move(code));
}

void object_reader::wrong_type(std::string_view name, std::string_view wanted) const {
  fail(
      name,
      "'" + path(name) + "' must be " + std::string{wanted} + ", not " +
          std::string{kind_of(*find(name))},
      "invalid_type");
}

std::optional<std::string> object_reader::text(std::string_view name, std::size_t bytes_max) const {
  const auto* v = find(name);
  if (!v) return std::nullopt;
  if (!v->is_string()) return wrong_type(name, "a string"), std::nullopt;
  if (v->get_string().size() > bytes_max)
    return fail(
               name, "'" + path(name) + "' is longer than " + std::to_string(bytes_max) + " bytes",
               "string_above_max_length"),
           std::nullopt;
  return std::string{v->get_string().data(), v->get_string().size()};
}

std::string object_reader::required_text(std::string_view name, std::size_t bytes_max) const {
  auto value = text(name, bytes_max);
  if (!value || value->empty())
    fail(name, "'" + path(name) + "' is required", "missing_required_parameter");
  return value.value_or("");
}

std::optional<bool> object_reader::boolean(std::string_view name) const {
  const auto* v = find(name);
  if (!v) return std::nullopt;
  if (!v->is_bool()) return wrong_type(name, "a boolean"), std::nullopt;
  return v->get_bool();
}

std::optional<double> object_reader::number(std::string_view name, double min, double max) const {
  const auto* v = find(name);
  if (!v) return std::nullopt;
  if (!v->is_number()) return wrong_type(name, "a number"), std::nullopt;
  const double value = v->to_number<double>();
  // The negation also refuses what a text such as 1e999 becomes.
  if (!(value >= min && value <= max) || !std::isfinite(value))
    return fail(
               name, "'" + path(name) + "' must be between " + number_text(min) + " and " +
                         number_text(max)),
           std::nullopt;
  return value;
}

std::optional<std::int64_t> object_reader::integer(
    std::string_view name, std::int64_t min, std::int64_t max) const {
  const auto* v = find(name);
  if (!v) return std::nullopt;
  if (!v->is_number()) return wrong_type(name, "an integer"), std::nullopt;
  boost::system::error_code ec;
  const auto value = v->to_number<std::int64_t>(ec);
  if (ec || value < min || value > max)
    return fail(
               name, "'" + path(name) + "' must be an integer between " + std::to_string(min) +
                         " and " + std::to_string(max)),
           std::nullopt;
  return value;
}

std::optional<object_reader> object_reader::object(std::string_view name) const {
  const auto* v = find(name);
  if (!v) return std::nullopt;
  if (!v->is_object()) return wrong_type(name, "an object"), std::nullopt;
  return object_reader{v->get_object(), path(name), *first_};
}

const json::array* object_reader::array(std::string_view name, std::size_t items_max) const {
  const auto* v = find(name);
  if (!v) return nullptr;
  if (!v->is_array()) return wrong_type(name, "an array"), nullptr;
  if (v->get_array().size() > items_max)
    return fail(
               name, "'" + path(name) + "' has more than " + std::to_string(items_max) + " items",
               "array_above_max_length"),
           nullptr;
  return &v->get_array();
}

json_body::json_body(std::string_view text) {
  auto parsed = parse_json(text);
  if (!parsed)
    first = bad_request(parsed.error().message, "", "invalid_json");
  else if (!parsed->is_object())
    first = bad_request(
        "the body must be a JSON object, not " + std::string{kind_of(*parsed)}, "", "invalid_type");
  else
    value = *std::move(parsed);
  if (first) value.emplace_object();
}

std::string read_metadata(const object_reader& body) {
  const auto inner = body.object("metadata");
  if (!inner) return "{}";
  if (inner->raw().size() > metadata_pairs_max)
    body.fail("metadata", "'metadata' has more than 16 pairs");
  for (const auto& [key, value] : inner->raw()) {
    const std::string_view name{key.data(), key.size()};
    if (name.size() > metadata_key_bytes_max)
      body.fail("metadata", "a key of 'metadata' is longer than 64 characters");
    inner->text(name, metadata_value_bytes_max);
  }
  return json::serialize(inner->raw());
}

}  // namespace dlls::gateway::detail

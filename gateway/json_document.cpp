#include "gateway/json_document.hpp"

#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>

#include "gateway/detail/json_input.hpp"

namespace dlls::gateway {
namespace json = boost::json;

struct json_document::tree {
  json::value root;

  const json::value* find(std::string_view at) const {
    boost::system::error_code ec;
    return root.find_pointer(json::string_view{at.data(), at.size()}, ec);
  }
};

base::result<json_document> json_document::parse(std::string_view text) {
  auto root = detail::parse_json(text);
  if (!root) return root.error();
  json_document out;
  out.tree_ = std::make_shared<tree>(tree{*std::move(root)});
  return out;
}

std::optional<std::string> json_document::text(std::string_view at) const {
  const auto* v = tree_->find(at);
  if (!v || !v->is_string()) return std::nullopt;
  return std::string{v->get_string().data(), v->get_string().size()};
}

std::optional<double> json_document::number(std::string_view at) const {
  const auto* v = tree_->find(at);
  if (!v || !v->is_number()) return std::nullopt;
  return v->to_number<double>();
}

std::optional<std::int64_t> json_document::integer(std::string_view at) const {
  const auto* v = tree_->find(at);
  if (!v || !v->is_number()) return std::nullopt;
  boost::system::error_code ec;
  const auto value = v->to_number<std::int64_t>(ec);
  return ec ? std::nullopt : std::optional{value};
}

std::optional<bool> json_document::boolean(std::string_view at) const {
  const auto* v = tree_->find(at);
  return v && v->is_bool() ? std::optional{v->get_bool()} : std::nullopt;
}

std::size_t json_document::size(std::string_view at) const {
  const auto* v = tree_->find(at);
  if (v && v->is_array()) return v->get_array().size();
  return v && v->is_object() ? v->get_object().size() : 0;
}

bool json_document::has(std::string_view at) const {
  const auto* v = tree_->find(at);
  return v && !v->is_null();
}

std::vector<std::string> json_document::keys(std::string_view at) const {
  std::vector<std::string> names;
  const auto* v = tree_->find(at);
  if (v && v->is_object())
    for (const auto& pair : v->get_object())
      names.emplace_back(pair.key().data(), pair.key().size());
  return names;
}

std::string json_document::dump(std::string_view at) const {
  const auto* v = tree_->find(at);
  return v ? json::serialize(*v) : "null";
}

std::string json_quoted(std::string_view text) {
  const auto valid = detail::valid_utf8(text);
  return json::serialize(json::string_view{valid.data(), valid.size()});
}

}  // namespace dlls::gateway

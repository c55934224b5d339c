#include "gateway/jobs.hpp"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <limits>
#include <map>

#include "gateway/detail/json_input.hpp"

namespace dlls::gateway {
namespace json = boost::json;
namespace {

template <class T>
void put_some(json::object& out, json::string_view name, const std::optional<T>& value) {
  if (value) out[name] = *value;
}

// Members in sorted order, so that equal values give equal text.
json::value sorted(const json::value& v) {
  if (const auto* list = v.if_array()) {
    json::array out;
    for (const auto& item : *list) out.push_back(sorted(item));
    return out;
  }
  const auto* object = v.if_object();
  if (!object) return v;
  std::map<std::string_view, const json::value*> by_name;
  for (const auto& pair : *object) by_name[{pair.key().data(), pair.key().size()}] = &pair.value();
  json::object out;
  for (const auto& [name, value] : by_name)
    out[json::string_view{name.data(), name.size()}] = sorted(*value);
  return out;
}

json::value object_of(std::string_view text) {
  auto parsed = detail::parse_json(text);
  return parsed && parsed->is_object() ? *std::move(parsed) : json::value(json::object{});
}

}  // namespace

std::string to_spec_json(const job_request& r) {
  json::object hyper, out;
  put_some(hyper, "n_epochs", r.hyper.n_epochs);
  put_some(hyper, "batch_size", r.hyper.batch_size);
  put_some(hyper, "learning_rate_multiplier", r.hyper.learning_rate_multiplier);
  put_some(hyper, "beta", r.hyper.beta);
  json::array files;
  for (const auto& id : r.files) files.emplace_back(id);
  out["kind"] = r.kind;
  out["model"] = r.model;
  out["files"] = std::move(files);
  out["suffix"] = r.suffix;
  put_some(out, "seed", r.seed);
  out["method"] = r.method;
  out["hyperparameters"] = std::move(hyper);
  out["metadata"] = object_of(r.metadata_json);
  out["extra"] = object_of(r.extra_json);
  return json::serialize(sorted(out));
}

base::result<job_request> from_spec_json(std::string_view text) {
  detail::json_body body{text};
  job_request out;
  const auto in = body.reader();
  constexpr std::size_t any = 1u << 20;
  constexpr std::int64_t most = std::numeric_limits<std::uint32_t>::max();
  const auto whole = [](std::optional<std::int64_t> v) -> std::optional<std::uint32_t> {
    return v ? std::optional{static_cast<std::uint32_t>(*v)} : std::nullopt;
  };
  out.kind = in.text("kind", any).value_or("");
  out.model = in.text("model", any).value_or("");
  out.suffix = in.text("suffix", any).value_or("");
  out.seed = in.integer(
      "seed", std::numeric_limits<std::int64_t>::min(), std::numeric_limits<std::int64_t>::max());
  out.method = in.text("method", any).value_or(out.method);
  if (const auto hyper = in.object("hyperparameters")) {
    constexpr double huge = std::numeric_limits<double>::max();
    out.hyper.n_epochs = whole(hyper->integer("n_epochs", 0, most));
    out.hyper.batch_size = whole(hyper->integer("batch_size", 0, most));
    out.hyper.learning_rate_multiplier = hyper->number("learning_rate_multiplier", -huge, huge);
    out.hyper.beta = hyper->number("beta", -huge, huge);
  }
  if (const auto* files = in.array("files", any))
    for (const auto& id : *files) {
      if (!id.is_string()) in.fail("files", "'files' must be strings");
      if (id.is_string()) out.files.emplace_back(id.get_string().data(), id.get_string().size());
    }
  if (const auto metadata = in.object("metadata"))
    out.metadata_json = json::serialize(metadata->raw());
  if (const auto extra = in.object("extra")) out.extra_json = json::serialize(extra->raw());
  if (body.first)
    return base::error{base::errc::corrupt, "a job's specification: " + body.first->message};
  return out;
}

std::string_view fine_tuning_status(std::string_view state) noexcept {
  if (state == "submitted") return "validating_files";
  if (state == "queued" || state == "offered") return "queued";
  if (state == "running" || state == "lost_contact") return "running";
  if (state == "ready" || state == "fetched" || state == "released") return "succeeded";
  if (state == "cancelled") return "cancelled";
  return "failed";
}

}  // namespace dlls::gateway

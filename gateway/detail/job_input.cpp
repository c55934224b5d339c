#include "gateway/detail/job_input.hpp"

#include <algorithm>
#include <boost/json/serialize.hpp>
#include <limits>

#include "base/limits.hpp"

namespace dlls::gateway::detail {
namespace json = boost::json;
namespace {

constexpr std::size_t id_bytes_max = 128;
constexpr std::size_t model_bytes_max = 256;
constexpr std::size_t suffix_bytes_max = 64;
constexpr std::size_t kind_bytes_max = 32;
constexpr std::size_t files_max = 64;

// None for a missing member and for "auto".
bool is_auto(const object_reader& in, std::string_view name) {
  const auto* v = in.find(name);
  return !v || (v->is_string() && v->get_string() == "auto");
}

void read_hyperparameters(const object_reader& in, hyperparameters& out) {
  const auto whole = [&](std::string_view name, std::int64_t max) -> std::optional<std::uint32_t> {
    if (is_auto(in, name)) return std::nullopt;
    const auto value = in.integer(name, 1, max);
    return value ? std::optional{static_cast<std::uint32_t>(*value)} : std::nullopt;
  };
  out.n_epochs = whole("n_epochs", 10'000);
  out.batch_size = whole("batch_size", 4'096);
  if (!is_auto(in, "learning_rate_multiplier"))
    out.learning_rate_multiplier = in.number("learning_rate_multiplier", 1e-6, 1e6);
  if (!is_auto(in, "beta")) out.beta = in.number("beta", 0, 2);
}

void read_method(const object_reader& in, job_request& out) {
  const auto method = in.object("method");
  if (const auto old = in.object("hyperparameters")) read_hyperparameters(*old, out.hyper);
  if (!method) return;
  out.method = method->required_text("type", 32);
  if (out.method != "supervised" && out.method != "dpo") {
    method->fail(
        "type", "method '" + out.method + "' is not supported: supervised or dpo",
        "unsupported_parameter");
    return;
  }
  if (const auto inner = method->object(out.method))
    if (const auto hyper = inner->object("hyperparameters"))
      read_hyperparameters(*hyper, out.hyper);
}

std::string object_text(const object_reader& in, std::string_view name) {
  const auto inner = in.object(name);
  return inner ? json::serialize(inner->raw()) : "{}";
}

}  // namespace

job_request read_fine_tuning(std::string_view text, problem& first) {
  json_body body{text};
  job_request out;
  out.kind = "fine_tune";
  if (!body.first) {
    const auto in = body.reader();
    out.model = in.required_text("model", model_bytes_max);
    out.files.push_back(in.required_text("training_file", id_bytes_max));
    if (const auto file = in.text("validation_file", id_bytes_max); file && !file->empty())
      out.files.push_back(*file);
    out.suffix = in.text("suffix", suffix_bytes_max).value_or("");
    out.seed = in.integer("seed", 0, std::numeric_limits<std::int32_t>::max());
    read_method(in, out);
    if (const auto* list = in.array("integrations", 5); list && !list->empty())
      in.fail(
          "integrations", "integrations are not supported by this server", "unsupported_parameter");
    out.metadata_json = read_metadata(in);
    out.extra_json = object_text(in, "dlls");
  }
  first = std::move(body.first);
  return out;
}

job_request read_job(std::string_view text, problem& first) {
  json_body body{text};
  job_request out;
  if (!body.first) {
    const auto in = body.reader();
    out.kind = in.required_text("kind", kind_bytes_max);
    out.model = in.text("model", model_bytes_max).value_or("");
    out.suffix = in.text("suffix", suffix_bytes_max).value_or("");
    out.seed = in.integer("seed", 0, std::numeric_limits<std::int32_t>::max());
    if (const auto* list = in.array("files", files_max))
      for (std::size_t i = 0; i < list->size(); ++i) {
        const auto& item = (*list)[i];
        if (!item.is_string() || item.get_string().empty() ||
            item.get_string().size() > id_bytes_max)
          in.fail(
              "files[" + std::to_string(i) + "]", "'files' must be an array of file ids",
              "invalid_type");
        else
          out.files.emplace_back(item.get_string().data(), item.get_string().size());
      }
    read_method(in, out);
    out.metadata_json = read_metadata(in);
    out.extra_json = object_text(in, "spec");
  }
  first = std::move(body.first);
  return out;
}

void check_idempotency_key(const request& in, problem& first) {
  const auto& key = in.idempotency_key;
  const bool visible =
      std::all_of(key.begin(), key.end(), [](char c) { return c > 0x20 && c < 0x7f; });
  if (!first && (key.size() > id_bytes_max || !visible))
    first = bad_request(
        "'Idempotency-Key' must be at most 128 visible ASCII characters", "Idempotency-Key",
        "invalid_value");
}

}  // namespace dlls::gateway::detail

#include "ledger/detail/validate.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/encoding.hpp"
#include "base/sha256.hpp"

namespace dlls::ledger::detail {

using base::errc;
using base::error;
using base::result;

namespace {

error refused(std::string_view field, std::string_view why) {
  return {errc::invalid_argument, fmt::format("{} {}", field, why)};
}

// Text that SQLite gives back as it came: UTF-8 without NUL, not longer than `bytes_max`.
result<> validate_text(std::string_view field, std::string_view value, std::size_t bytes_max) {
  if (value.size() > bytes_max)
    return refused(field, fmt::format("has {} bytes, at most {} fit", value.size(), bytes_max));
  if (value.find('\0') != value.npos || !base::is_utf8(value))
    return refused(field, "is not UTF-8 text");
  return {};
}

// The first refusal of several checks.
result<> first(std::initializer_list<result<>> checks) {
  for (const auto& c : checks)
    if (!c) return c;
  return {};
}

result<> optional_name(std::string_view field, std::string_view value) {
  return value.empty() ? result<>{} : validate_name(field, value);
}

result<> validate_kinds(const std::vector<std::string>& kinds) {
  if (kinds.size() > job_state_count) return refused("kinds", "names too many");
  for (const auto& k : kinds)
    if (auto ok = validate_name("kind", k); !ok) return ok;
  return {};
}

}  // namespace

result<> validate_name(std::string_view field, std::string_view value) {
  if (value.empty()) return refused(field, "is empty");
  if (std::ranges::any_of(value, [](unsigned char c) { return c < 0x20 || c == 0x7f; }))
    return refused(field, "has control characters");
  return validate_text(field, value, limits::name_bytes_max);
}

result<> validate_hash(std::string_view field, std::string_view value) {
  return base::is_sha256(value) ? result<>{}
                                : refused(field, "is not 64 lower-case hexadecimal digits");
}

result<> validate_json(std::string_view field, std::string_view value) {
  return validate_text(field, value, limits::json_bytes_max);
}

result<> validate_limit(std::uint32_t limit) {
  if (limit >= 1 && limit <= limits::page_items_max) return {};
  return refused("limit", fmt::format("must be 1 to {}", limits::page_items_max));
}

result<> validate(const new_job& j) {
  if (j.inputs.size() > limits::inputs_max) return refused("inputs", "names too many artifacts");
  for (const auto& sha : j.inputs)
    if (auto ok = validate_hash("an input", sha); !ok) return ok;
  return first(
      {optional_name("id", j.id), validate_name("owner", j.owner), validate_name("kind", j.kind),
       optional_name("idempotency key", j.idempotency_key),
       validate_json("specification", j.spec_json), optional_name("model", j.model_in)});
}

result<> validate(const new_event& e) {
  return first(
      {validate_name("event type", e.type),
       validate_text("event message", e.message, limits::text_bytes_max),
       validate_json("event data", e.data_json)});
}

result<> validate(const edge& e) {
  if (e.from.empty()) return refused("from", "names no state");
  if (e.event)
    if (auto ok = validate(*e.event); !ok) return ok;
  if (e.outbox) {
    const auto& row = *e.outbox;
    auto ok = first(
        {optional_name("webhook id", row.id), validate_name("webhook type", row.type),
         validate_json("webhook payload", row.payload_json)});
    if (!ok) return ok;
  }
  return first(
      {validate_name("id", e.id), validate_json("manifest", e.manifest_json.value_or("")),
       optional_name("model", e.model_out.value_or("")),
       optional_name("error code", e.error_code.value_or("")),
       validate_text("error message", e.error_message.value_or(""), limits::text_bytes_max)});
}

result<> validate(const job_filter& f) {
  return first(
      {validate_limit(f.limit), validate_kinds(f.kinds), optional_name("node", f.node),
       optional_name("after", f.after)});
}

result<> validate(const file& f) {
  if (f.bytes > base::limits::artifact_bytes_max) return refused("bytes", "is too large");
  return first(
      {optional_name("id", f.id), validate_name("owner", f.owner),
       validate_text("file name", f.filename, limits::text_bytes_max),
       validate_name("purpose", f.purpose), validate_name("status", f.status),
       validate_hash("sha256", f.sha256)});
}

result<> validate(const file_filter& f) {
  return first(
      {validate_limit(f.limit), optional_name("purpose", f.purpose),
       optional_name("after", f.after)});
}

result<> validate(const api_key& k) {
  return first(
      {optional_name("id", k.id), validate_hash("key hash", k.hash), validate_name("name", k.name),
       validate_name("owner", k.owner)});
}

result<> validate(const redemption& r) {
  return first(
      {validate_hash("token hash", r.token_hash), validate_name("node", r.node),
       validate_hash("fingerprint", r.fingerprint)});
}

}  // namespace dlls::ledger::detail

#include "actors/spool.hpp"

#include <fmt/core.h>

#include <boost/json.hpp>

#include "actors/wire_json.hpp"
#include "base/file.hpp"
#include "base/log.hpp"

namespace dlls::actors {
namespace fs = std::filesystem;
namespace json = boost::json;
using base::errc;
using base::error;
using base::result;

namespace {

constexpr std::string_view state_names[] = {"accepted", "sealed", "failed"};

std::string to_text(const spool_entry& entry) {
  const auto& order = entry.order;
  return json::serialize(json::object{
      {"id", order.job.id},
      {"attempt", order.job.attempt},
      {"fence", order.job.fence},
      {"kind", order.kind},
      {"spec", order.spec_json},
      {"inputs", to_json(order.inputs)},
      {"place", entry.place},
      {"state", state_names[static_cast<int>(entry.state)]},
      {"result", to_json(entry.result)},
      {"error_code", static_cast<int>(entry.why.code)},
      {"error_message", entry.why.message}});
}

result<spool_entry> from_text(std::string_view text) {
  auto value = parse_json(text);
  if (!value) return value.error();
  const auto* members = value->if_object();
  if (!members || !members->contains("inputs") || !members->contains("result") ||
      !members->contains("attempt") || !members->contains("fence"))
    return error{errc::corrupt, "members are missing"};
  auto id = text_member(*value, "id");
  auto kind = text_member(*value, "kind");
  auto spec = text_member(*value, "spec");
  auto state = text_member(*value, "state");
  auto attempt = whole_member(*value, "attempt", 0, 1, ~std::uint32_t{0});
  auto fence = whole_member(*value, "fence", 0, 1, ~std::uint64_t{0});
  auto inputs = artifacts_from(members->at("inputs"));
  auto done = manifest_from(members->at("result"));
  auto place = whole_member(*value, "place", 0, 0, ~std::uint64_t{0});
  auto code = whole_member(*value, "error_code", 0, 0, 255);
  auto message = text_member(*value, "error_message", "");
  if (!id || !kind || !spec || !state || !attempt || !fence || !inputs || !done || !place ||
      !code || !message)
    return error{errc::corrupt, "a member has the wrong type"};
  spool_entry entry;
  entry.order.job = {*id, static_cast<std::uint32_t>(*attempt), *fence};
  entry.order.kind = *kind;
  entry.order.spec_json = *spec;
  entry.order.inputs = *inputs;
  entry.place = *place;
  entry.result = *done;
  entry.why = {static_cast<errc>(*code), *message};
  for (int i = 0; i < 3; ++i)
    if (*state == state_names[i]) {
      entry.state = static_cast<held_state>(i);
      return entry;
    }
  return error{errc::corrupt, "unknown state"};
}

// To a name that is free: an entry of that id may have been broken before.
void move_aside(const fs::path& folder) {
  std::error_code failed;
  auto aside = folder;
  aside += ".broken";
  for (int n = 2; fs::exists(aside, failed); ++n) {
    aside = folder;
    aside += fmt::format(".broken-{}", n);
  }
  fs::rename(folder, aside, failed);
  if (failed) base::log_error("spool", "{} stays: {}", folder.string(), failed.message());
}

}  // namespace

bool is_safe_id(const std::string& id) noexcept {
  return !id.empty() && id.size() <= 64 &&
         id.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") ==
             id.npos;
}

result<spool> spool::open(fs::path folder) {
  if (auto made = base::make_folder(folder); !made) return made.error();
  return spool{std::move(folder)};
}

result<std::vector<spool_entry>> spool::load() const {
  std::vector<spool_entry> entries;
  std::vector<fs::path> leftovers;
  std::error_code failed;
  fs::directory_iterator all{folder_, failed};
  for (; !failed && all != fs::directory_iterator{}; all.increment(failed)) {
    const auto& item = *all;
    std::error_code unknown;
    if (!item.is_directory(unknown) || !is_safe_id(item.path().filename().string())) continue;
    const auto path = item.path() / "job.json";
    auto text = base::read_file(path, 8u << 20);
    // A folder without its file: the process died before the first store, and nothing was
    // acknowledged; or within remove(), and its checkpoints may be gigabytes.
    if (!text && text.error().code == errc::not_found) {
      leftovers.push_back(item.path());
      continue;
    }
    auto entry = text ? from_text(*text) : result<spool_entry>{text.error()};
    if (entry && entry->order.job.id == item.path().filename()) {
      entries.push_back(std::move(*entry));
      continue;
    }
    base::log_error(
        "spool", "entry {} cannot be read and is moved aside: {}", item.path().string(),
        entry ? "its id differs from its folder" : entry.error().text());
    move_aside(item.path());
  }
  if (failed)
    return error{errc::io, fmt::format("read {}: {}", folder_.string(), failed.message())};
  for (const auto& folder : leftovers) {
    fs::remove_all(folder, failed);
    if (failed) base::log_error("spool", "{} stays: {}", folder.string(), failed.message());
  }
  return entries;
}

result<> spool::store(const spool_entry& entry) const {
  const auto& id = entry.order.job.id;
  if (!is_safe_id(id)) return error{errc::invalid_argument, "a job id that is no file name"};
  const auto folder = folder_ / id;
  std::error_code unknown;
  const bool fresh = !fs::exists(folder, unknown);
  if (auto made = base::make_folder(folder); !made) return made;
  if (auto stored = base::write_file_durably(folder / "job.json", to_text(entry)); !stored)
    return stored;
  return fresh ? base::sync_folder(folder_) : result<>{};
}

result<> spool::remove(const std::string& job_id) const {
  if (!is_safe_id(job_id)) return error{errc::invalid_argument, "a job id that is no file name"};
  const auto folder = folder_ / job_id;
  std::error_code failed;
  // The entry first: a half-removed folder without it counts as not held.
  fs::remove(folder / "job.json", failed);
  if (!failed) fs::remove_all(folder, failed);
  if (failed)
    return error{errc::io, fmt::format("remove {}: {}", folder.string(), failed.message())};
  return base::sync_folder(folder_);
}

result<fs::path> spool::work_folder(const job_ref& job) const {
  if (!is_safe_id(job.id)) return error{errc::invalid_argument, "a job id that is no file name"};
  auto folder = folder_ / job.id / fmt::format("work-{}", job.fence);
  if (auto made = base::make_folder(folder); !made) return made.error();
  return folder;
}

}  // namespace dlls::actors

#include "actors/model_store.hpp"

#include <fmt/core.h>
#include <fmt/ranges.h>
#include <sys/stat.h>

#include <algorithm>
#include <boost/json.hpp>

#include "actors/wire_json.hpp"
#include "base/encoding.hpp"
#include "base/file.hpp"
#include "base/log.hpp"
#include "base/sha256.hpp"
#include "model/gguf.hpp"

namespace dlls::actors {
namespace fs = std::filesystem;
using base::errc;
using base::error;
using base::result;

namespace {

constexpr std::size_t name_bytes_max = 200;

fs::path note_of(fs::path gguf) { return gguf.replace_extension(".json"); }

struct file_facts {
  file_mark mark;
  std::int64_t written_s = 0;
};

file_facts facts_of(const fs::path& path) {
  struct stat now {};
  if (::stat(path.c_str(), &now) != 0) return {};
  const auto changed_ns = std::int64_t{now.st_ctim.tv_sec} * 1'000'000'000 + now.st_ctim.tv_nsec;
  return {
      {now.st_dev, now.st_ino, static_cast<std::uint64_t>(now.st_size), changed_ns},
      now.st_mtim.tv_sec};
}

// A model's name may hold ':' and anything else; its file is named by the name's hash.
std::string file_stem(const std::string& name) {
  return "job-" + base::sha256_hex(name).substr(0, 24);
}

}  // namespace

result<std::unique_ptr<model_store>> model_store::open(fs::path folder) {
  if (auto made = base::make_folder(folder); !made) return made.error();
  std::unique_ptr<model_store> store{new model_store(std::move(folder))};
  store->refresh();
  return store;
}

result<stored_model> model_store::read(const fs::path& gguf) const {
  // Before the file is opened: what replaces it meanwhile has another mark, and is seen later.
  const auto facts = facts_of(gguf);
  auto file = model::gguf_file::open(gguf);
  if (!file) return file.error();
  stored_model found;
  found.name = gguf.stem().string();
  const auto odd = [](unsigned char c) { return c < 0x20 || c == 0x7f; };
  if (found.name.size() > name_bytes_max || !base::is_utf8(found.name) ||
      std::ranges::any_of(found.name, odd))
    return error{errc::invalid_argument, "a file's name cannot be a model's name"};
  found.path = gguf;
  found.bytes = (*file)->bytes();
  found.created = facts.written_s;
  found.mark = facts.mark;
  const auto architecture = (*file)->get_string("general.architecture", "llama");
  if (architecture)
    found.context =
        value_or((*file)->get_u32(fmt::format("{}.context_length", *architecture), 0), 0u);
  if (auto note = base::read_file(note_of(gguf), 1u << 16)) {
    auto value = parse_json(*note);
    auto name = value ? text_member(*value, "name") : result<std::string>{value.error()};
    auto job = value ? text_member(*value, "job", "") : result<std::string>{value.error()};
    if (!name || !job)
      return error{errc::corrupt, "the note beside " + gguf.string() + " cannot be read"};
    found.name = *name;
    found.job = *job;
  }
  return found;
}

void model_store::refresh() {
  std::vector<fs::path> files;
  std::error_code failed;
  for (const auto& item : fs::directory_iterator(folder_, failed))
    if (item.path().extension() == ".gguf") files.push_back(item.path());
  if (failed) base::log_warning("models", "{}: {}", folder_.string(), failed.message());
  std::lock_guard lock{mutex_};
  std::vector<stored_model> fresh;
  for (const auto& path : files) {
    const auto known = std::ranges::find(models_, path, &stored_model::path);
    if (known != models_.end() && known->mark == facts_of(path).mark) {
      fresh.push_back(*known);
    } else if (auto found = read(path)) {
      fresh.push_back(std::move(*found));
    } else {
      base::log_warning("models", "{} is left out: {}", path.string(), found.error().text());
    }
  }
  std::ranges::sort(fresh, {}, &stored_model::name);
  models_ = std::move(fresh);
}

std::vector<stored_model> model_store::list() const {
  std::lock_guard lock{mutex_};
  return models_;
}

result<stored_model> model_store::find(const std::string& name) {
  std::lock_guard lock{mutex_};
  const auto found = std::ranges::find(models_, name, &stored_model::name);
  if (found == models_.end()) return no_such(name);
  const auto now = facts_of(found->path).mark;
  if (now == found->mark) return *found;
  // One that is gone or cannot be read stays in the list: put back, it is served again.
  if (now == file_mark{})
    return error{
        errc::not_found, fmt::format("the file of model '{}' is gone", name),
        "put it back into " + folder_.string()};
  auto fresh = read(found->path);
  if (fresh && fresh->name == name) *found = *fresh;
  return fresh;
}

// With the lock held.
error model_store::no_such(const std::string& name) const {
  std::vector<std::string> names;
  for (const auto& one : models_) names.push_back(one.name);
  return {
      errc::not_found, fmt::format("no model '{}'", name),
      names.empty() ? "the model folder is empty: put a GGUF file into " + folder_.string()
                    : fmt::format("there are: {}", fmt::join(names, ", "))};
}

result<stored_model> model_store::add(
    const std::string& name, const std::string& job, const fs::path& finished) {
  const auto target = folder_ / (file_stem(name) + ".gguf");
  // The note first: a note without a file is nothing, a file without its note has the wrong name.
  const auto note = boost::json::serialize(boost::json::object{{"name", name}, {"job", job}});
  if (auto stored = base::write_file_durably(note_of(target), note); !stored) return stored.error();
  if (auto moved = base::rename_durably(finished, target); !moved) return moved.error();
  auto added = read(target);
  if (!added) return error{errc::corrupt, "the file just made cannot be read: " + target.string()};
  std::lock_guard lock{mutex_};
  std::erase_if(models_, [&](const auto& one) { return one.path == target; });
  models_.push_back(*added);
  std::ranges::sort(models_, {}, &stored_model::name);
  return *added;
}

result<> model_store::remove(const std::string& name, const std::string& job) {
  std::lock_guard lock{mutex_};
  const auto found = std::ranges::find(models_, name, &stored_model::name);
  if (found == models_.end() || found->job != job) return {};
  // The note last, for the same reason.
  std::error_code failed;
  fs::remove(found->path, failed);
  if (!failed) fs::remove(note_of(found->path), failed);
  if (failed)
    return error{errc::io, fmt::format("remove {}: {}", found->path.string(), failed.message())};
  models_.erase(found);
  return base::sync_folder(folder_);
}

}  // namespace dlls::actors

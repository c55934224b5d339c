#include "model/checkpoint.hpp"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <boost/json.hpp>

#include "base/check.hpp"
#include "base/encoding.hpp"
#include "base/file.hpp"
#include "base/log.hpp"
#include "base/sha256.hpp"

namespace dlls::model {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;

static_assert(std::endian::native == std::endian::little, "checkpoints are little-endian");

constexpr std::string_view prefix = "step-", temporary = ".tmp", manifest_name = "manifest";
constexpr std::uint64_t format_version = 1;
constexpr std::size_t piece_bytes = 4u << 20;        // written and hashed at a time
constexpr std::uint64_t space_margin = 64ull << 20;  // free bytes to leave on the disk
constexpr std::size_t manifest_bytes_max = 1u << 20;

base::error corrupt(std::string message) { return {base::errc::corrupt, std::move(message)}; }

// Calls each(offset, piece) over the array.
template <class Each>
base::result<> in_pieces(std::span<std::byte> bytes, Each each) {
  for (std::size_t at = 0; at < bytes.size(); at += piece_bytes)
    if (auto ok = each(at, bytes.subspan(at, std::min(piece_bytes, bytes.size() - at))); !ok)
      return ok.error();
  return {};
}

// Writes, syncs and gives the SHA-256.
base::result<std::string> write_array(const fs::path& path, std::span<std::byte> bytes) {
  const base::unique_fd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!fd) return base::errno_error("create " + path.string());
  base::sha256 hash;
  const auto wrote = in_pieces(bytes, [&](std::size_t at, std::span<std::byte> piece) {
    hash.update(piece);
    return base::write_at(fd.get(), at, piece);
  });
  if (!wrote) return wrote.error();
  if (auto ok = base::sync_file(fd.get(), path); !ok) return ok.error();
  return base::to_hex(hash.finish());
}

base::result<std::string> read_array(const fs::path& path, std::span<std::byte> bytes) {
  const base::unique_fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return base::errno_error("open " + path.string());
  base::sha256 hash;
  const auto read =
      in_pieces(bytes, [&](std::size_t at, std::span<std::byte> piece) -> base::result<> {
        const auto got = base::read_at(fd.get(), at, piece);
        if (!got) return got.error();
        if (*got != piece.size()) return corrupt(path.string() + " is cut short");
        hash.update(piece);
        return {};
      });
  if (!read) return read.error();
  return base::to_hex(hash.finish());
}

json::object to_json(const training_identity& i) {
  return {
      {"spec_sha256", i.spec_sha256},
      {"dataset_sha256", i.dataset_sha256},
      {"base_sha256", i.base_sha256},
      {"instruction_set", i.instruction_set},
      {"threads", i.threads}};
}

// The sum as its bits: it must come back exactly.
json::object to_json(const training_progress& p) {
  return {
      {"step", p.step},
      {"tokens_seen", p.tokens_seen},
      {"epoch_loss_bits", std::bit_cast<std::uint64_t>(p.epoch_loss_sum)},
      {"epoch_targets", p.epoch_targets},
      {"finished", p.finished}};
}

training_progress progress_from(const json::value& v) {
  const auto number = [&](const char* key) { return v.at(key).to_number<std::uint64_t>(); };
  training_progress p;
  p.step = number("step"), p.tokens_seen = number("tokens_seen");
  p.epoch_loss_sum = std::bit_cast<double>(number("epoch_loss_bits"));
  p.epoch_targets = number("epoch_targets"), p.finished = v.at("finished").as_bool();
  return p;
}

// The manifest, its own checksum verified.
base::result<json::value> read_manifest(const fs::path& folder) {
  const auto content = base::read_file(folder / manifest_name, manifest_bytes_max);
  if (!content) return content.error();
  const auto end = content->find('\n');
  const auto line = content->substr(0, end);
  if (end == content->npos || content->substr(end + 1) != base::sha256_hex(line) + "\n")
    return corrupt("the manifest does not match its checksum");
  json::error_code ec;
  auto parsed = json::parse(line, ec);
  if (ec) return corrupt("the manifest is no JSON");
  return parsed;
}

base::result<> same_run(const json::value& manifest, const training_identity& ours) {
  const auto& theirs = manifest.at("identity");
  const auto differs = [&](const char* key, const std::string& own) {
    return theirs.at(key).as_string() != own;
  };
  const char* what = differs("dataset_sha256", ours.dataset_sha256) ? "data set"
                     : differs("spec_sha256", ours.spec_sha256)     ? "training spec"
                     : differs("base_sha256", ours.base_sha256)     ? "base model"
                                                                    : nullptr;
  if (what)
    return base::error{
        base::errc::failed_precondition, fmt::format("the checkpoint is of another {}", what),
        "train into another folder, or delete this one"};
  if (differs("instruction_set", ours.instruction_set) ||
      theirs.at("threads").to_number<std::uint64_t>() != ours.threads)
    base::log_warning(
        "trainer",
        "continues with another instruction set or thread count: the result will not "
        "be bit-identical to an unbroken run's");
  return {};
}

}  // namespace

base::result<checkpoint_store> checkpoint_store::open(fs::path folder, training_identity identity) {
  if (auto made = base::make_folder(folder); !made) return made.error();
  std::error_code ec;
  for (const auto& entry : fs::directory_iterator(folder, ec))
    if (entry.path().extension() == temporary) fs::remove_all(entry.path(), ec);
  return checkpoint_store(std::move(folder), std::move(identity));
}

// Names carry the step with leading zeros, so their order is the steps'. What LATEST names comes
// first, should a clock or a person have meddled.
std::vector<fs::path> checkpoint_store::newest_first() const {
  std::vector<fs::path> found;
  std::error_code ec;
  for (const auto& entry : fs::directory_iterator(folder_, ec)) {
    const auto name = entry.path().filename().string();
    if (name.starts_with(prefix) && !name.ends_with(temporary)) found.push_back(entry.path());
  }
  std::ranges::sort(found, std::greater{});
  if (const auto latest = base::read_file(folder_ / "LATEST", manifest_bytes_max)) {
    const auto at = std::ranges::find(found, folder_ / *latest);
    if (at != found.end()) std::rotate(found.begin(), at, at + 1);
  }
  return found;
}

base::result<training_progress> checkpoint_store::load_one(
    const fs::path& from, std::span<const checkpoint_array> arrays) const {
  const auto manifest = read_manifest(from);
  if (!manifest) return manifest.error();
  try {
    if (manifest->at("format").to_number<std::uint64_t>() != format_version)
      return corrupt("another format version");
    if (auto ok = same_run(*manifest, identity_); !ok) return ok.error();
    const auto& files = manifest->at("files").as_array();
    if (files.size() != arrays.size()) return corrupt("another number of arrays");
    for (std::size_t i = 0; i < arrays.size(); ++i) {
      const auto& file = files.at(i);
      if (file.at("name").as_string() != arrays[i].name ||
          file.at("bytes").to_number<std::uint64_t>() != arrays[i].bytes.size())
        return corrupt("another array than " + arrays[i].name);
      const auto sha256 = read_array(from / arrays[i].name, arrays[i].bytes);
      if (!sha256) return sha256.error();
      if (file.at("sha256").as_string() != *sha256)
        return corrupt(arrays[i].name + " does not match its checksum");
    }
    return progress_from(manifest->at("progress"));
  } catch (const std::exception& e) {  // Boost.JSON, on a missing field or another type
    return corrupt(fmt::format("the manifest lacks something ({})", e.what()));
  }
}

base::result<std::optional<training_progress>> checkpoint_store::load(
    std::span<const checkpoint_array> arrays) {
  for (const auto& path : newest_first()) {
    auto progress = load_one(path, arrays);
    if (progress) return std::optional(*progress);
    if (progress.error().code == base::errc::failed_precondition) return progress.error();
    base::log_warning(
        "trainer", "checkpoint {} is broken, trying the one before: {}", path.filename().string(),
        progress.error().text());
  }
  return std::optional<training_progress>();
}

base::result<> checkpoint_store::save(
    const training_progress& progress, std::span<const checkpoint_array> arrays) {
  if (saved_step_ == progress.step) return {};
  std::uint64_t needed = space_margin;
  for (const auto& a : arrays) needed += a.bytes.size();
  const auto space = base::space_at(folder_);
  if (!space) return space.error();
  if (space->bytes_free < needed)
    return base::error{
        base::errc::storage_full,
        fmt::format(
            "a checkpoint needs {} MB and {} MB are free", needed >> 20, space->bytes_free >> 20)};

  const auto name = fmt::format("{}{:012}", prefix, progress.step);
  const fs::path target = folder_ / name, building = folder_ / (name + std::string(temporary));
  std::error_code ignored;
  fs::remove_all(building, ignored);
  const auto write_all = [&]() -> base::result<> {
    if (auto ok = base::make_folder(building); !ok) return ok;
    json::array files;
    for (const auto& a : arrays) {
      const auto sha256 = write_array(building / a.name, a.bytes);
      if (!sha256) return sha256.error();
      files.push_back(
          json::object{{"name", a.name}, {"bytes", a.bytes.size()}, {"sha256", *sha256}});
    }
    const json::object manifest{
        {"format", format_version},
        {"identity", to_json(identity_)},
        {"progress", to_json(progress)},
        {"files", std::move(files)}};
    const auto line = json::serialize(manifest);
    const auto sealed = line + "\n" + base::sha256_hex(line) + "\n";
    if (auto ok = base::write_file_durably(building / manifest_name, sealed); !ok) return ok;
    // An earlier attempt's folder of this very step: only a broken one makes us write it again.
    fs::remove_all(target, ignored);
    if (auto ok = base::rename_durably(building, target); !ok) return ok;
    return base::write_file_durably(folder_ / "LATEST", name);
  };
  if (auto ok = write_all(); !ok) {
    fs::remove_all(building, ignored);
    return ok;
  }
  saved_step_ = progress.step;
  prune();
  return {};
}

void checkpoint_store::prune() const {
  const auto all = newest_first();
  std::error_code ignored;
  for (std::size_t i = kept; i < all.size(); ++i) fs::remove_all(all[i], ignored);
}

}  // namespace dlls::model

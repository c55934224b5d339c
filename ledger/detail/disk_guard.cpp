#include "ledger/detail/disk_guard.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/log.hpp"

namespace dlls::ledger::detail {

using base::errc;
using base::error;
using base::result;

namespace {
std::uint64_t threshold(const watermark& mark, const base::disk_space& space) {
  return std::min(space.bytes_total / 100 * mark.percent, mark.bytes_max);
}
}  // namespace

disk_guard::disk_guard(const std::filesystem::path& ledger, const sqlite_options& options)
    : folder_(ledger.has_parent_path() ? ledger.parent_path() : "."),
      ballast_(ledger.string() + "-ballast"),
      uploads_(options.uploads),
      submits_(options.submits),
      nearly_nothing_(options.ballast),
      ballast_bytes_(options.ballast_bytes),
      space_(options.space),
      held_(std::filesystem::exists(ballast_)) {}

result<> disk_guard::admit(const watermark& mark, std::uint64_t bytes, const char* what) const {
  auto space = space_(folder_);
  if (!space) return space.error();
  const auto keep = threshold(mark, *space);
  if (space->bytes_free >= keep && space->bytes_free - keep >= bytes) return {};
  return error{
      errc::storage_full,
      fmt::format(
          "the disk is nearly full ({} MiB free), {} are refused", space->bytes_free >> 20, what),
      "free some space; running jobs go on meanwhile"};
}

result<> disk_guard::admit_upload(std::uint64_t bytes) const {
  return admit(uploads_, bytes, "uploads");
}
result<> disk_guard::admit_submit() const { return admit(submits_, 0, "new jobs"); }

void disk_guard::tend() {
  if (ballast_bytes_ == 0) return;
  auto space = space_(folder_);
  if (!space) return;  // admissions say it to those whom it concerns
  const auto bytes = std::min(ballast_bytes_, space->bytes_total / 100);
  if (held_ && space->bytes_free < threshold(nearly_nothing_, *space)) {
    base::log_error("ledger", "the disk is full: the ballast goes, free some space now");
    drop_ballast();
  } else if (!held_ && space->bytes_free > threshold(submits_, *space) + 2 * bytes) {
    make_ballast(bytes);
  }
}

void disk_guard::drop_ballast() {
  if (!held_.exchange(false)) return;
  if (::unlink(ballast_.c_str()) != 0 && errno != ENOENT)
    base::log_error("ledger", "{}", base::errno_error("remove " + ballast_.string()).text());
}

void disk_guard::make_ballast(std::uint64_t bytes) {
  base::unique_fd fd{::open(ballast_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600)};
  if (fd && ::posix_fallocate(fd.get(), 0, static_cast<off_t>(bytes)) == 0) {
    held_ = true;
    return;
  }
  ::unlink(ballast_.c_str());  // tried again with the next batch
}

}  // namespace dlls::ledger::detail

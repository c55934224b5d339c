#include "base/mapped_file.hpp"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <mutex>
#include <utility>

#include "base/file.hpp"

namespace dlls::base {

namespace {

// What the handler may look at: atomics alone.
struct slot {
  std::atomic<bool> taken{false};
  std::atomic<std::uintptr_t> begin{0};  // 0: no mapping here
  std::atomic<std::uintptr_t> end{0};
  std::atomic<bool> damaged{false};
};
std::array<slot, mapped_file::mapped_files_max> slots;
struct sigaction before_ours;

static_assert(std::atomic<std::uintptr_t>::is_always_lock_free);

// Zeros from the page of the fault to the mapping's end: what lies behind a cut is gone too, and
// one fault for each of its pages would exhaust the kernel's map of areas. mmap is a plain system
// call.
bool mend(std::uintptr_t fault) {
  for (auto& one : slots) {
    const auto begin = one.begin.load(std::memory_order_acquire);
    const auto end = one.end.load(std::memory_order_acquire);
    if (begin == 0 || fault < begin || fault >= end) continue;
    const auto page = fault & ~static_cast<std::uintptr_t>(::getpagesize() - 1);
    one.damaged.store(true, std::memory_order_release);
    return ::mmap(
               reinterpret_cast<void*>(page), end - page, PROT_READ,
               MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED;
  }
  return false;
}

void on_bus_error(int number, siginfo_t* info, void* context) {
  const int saved = errno;
  const bool mended = mend(reinterpret_cast<std::uintptr_t>(info->si_addr));
  errno = saved;
  if (mended) return;
  if (before_ours.sa_flags & SA_SIGINFO) return before_ours.sa_sigaction(number, info, context);
  if (before_ours.sa_handler != SIG_DFL && before_ours.sa_handler != SIG_IGN)
    return before_ours.sa_handler(number);
  std::signal(SIGBUS, SIG_DFL);  // the access is tried again, and ends the process as it would have
}

void install_handler() {
  static std::once_flag once;
  std::call_once(once, [] {
    struct sigaction ours {};
    ours.sa_sigaction = on_bus_error;
    ours.sa_flags = SA_SIGINFO;
    sigemptyset(&ours.sa_mask);
    ::sigaction(SIGBUS, &ours, &before_ours);
  });
}

std::int64_t written_ns(const struct stat& info) {
  return std::int64_t{info.st_mtim.tv_sec} * 1'000'000'000 + info.st_mtim.tv_nsec;
}

std::size_t take_slot() {
  for (std::size_t i = 0; i < slots.size(); ++i)
    if (!slots[i].taken.exchange(true)) return i;
  return slots.size();
}

}  // namespace

result<mapped_file> mapped_file::open(const std::filesystem::path& path) {
  // Without waiting: the open of a named pipe would wait for a writer.
  unique_fd fd{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  if (!fd) return errno_error("open " + path.string());
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0) return errno_error("stat " + path.string());
  if (!S_ISREG(info.st_mode))
    return error{errc::invalid_argument, path.string() + " is not a regular file"};
  if (info.st_size == 0) return error{errc::corrupt, path.string() + " is empty"};
  install_handler();
  const auto index = take_slot();
  if (index == slots.size())
    return error{errc::resource_exhausted, fmt::format("{} files are mapped", slots.size())};
  auto& mine = slots[index];
  const auto size = static_cast<std::size_t>(info.st_size);
  void* mapped = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd.get(), 0);
  if (mapped == MAP_FAILED) {
    auto failed = errno_error("map " + path.string());
    mine.taken = false;
    return failed;
  }
  mine.damaged = false;
  // Whole pages: the last one may lose the file beneath it as well.
  const auto page = static_cast<std::uintptr_t>(::getpagesize());
  const auto begin = reinterpret_cast<std::uintptr_t>(mapped);
  mine.end.store((begin + size + page - 1) & ~(page - 1), std::memory_order_release);
  mine.begin.store(begin, std::memory_order_release);
  mapped_file file;
  file.bytes_ = {static_cast<const std::byte*>(mapped), size};
  file.fd_ = std::move(fd);
  file.written_ns_ = written_ns(info);
  file.slot_ = index;
  return file;
}

mapped_file::mapped_file(mapped_file&& other) noexcept
    : bytes_(std::exchange(other.bytes_, {})),
      fd_(std::move(other.fd_)),
      written_ns_(other.written_ns_),
      slot_(other.slot_) {}

mapped_file& mapped_file::operator=(mapped_file&& other) noexcept {
  std::swap(bytes_, other.bytes_);
  std::swap(fd_, other.fd_);
  std::swap(written_ns_, other.written_ns_);
  std::swap(slot_, other.slot_);
  return *this;
}

mapped_file::~mapped_file() {
  if (bytes_.empty()) return;
  slots[slot_].begin = 0;
  ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
  slots[slot_].taken = false;
}

bool mapped_file::damaged() const noexcept {
  if (bytes_.empty()) return false;
  if (slots[slot_].damaged.load(std::memory_order_acquire)) return true;
  struct stat now {};
  return ::fstat(fd_.get(), &now) != 0 || static_cast<std::size_t>(now.st_size) != bytes_.size() ||
         written_ns(now) != written_ns_;
}

}  // namespace dlls::base

#include "base/machine.hpp"

#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <string>

namespace dlls::base {
namespace fs = std::filesystem;

std::uint64_t cgroup_memory_bytes(std::string_view self_cgroup, const fs::path& root) {
  // The line of v2 begins with 0::, those of v1 don't.
  const auto line = self_cgroup.find("0::/");
  if (line == self_cgroup.npos || (line > 0 && self_cgroup[line - 1] != '\n')) return UINT64_MAX;
  const auto begin = line + 4, end = std::min(self_cgroup.find('\n', begin), self_cgroup.size());
  auto least = UINT64_MAX;
  for (fs::path group = self_cgroup.substr(begin, end - begin);; group = group.parent_path()) {
    // A namespace may hide where the group stands: "/../..".
    const bool inside = std::ranges::find(group, fs::path("..")) == group.end();
    std::uint64_t allowed = 0;  // the text may be "max"
    if (std::ifstream file(root / group / "memory.max"); inside && file >> allowed)
      least = std::min(least, allowed);
    if (group.empty()) return least;
  }
}

std::uint64_t memory_bytes() {
  const auto all = static_cast<std::uint64_t>(sysconf(_SC_PHYS_PAGES)) *
                   static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
  std::ifstream file("/proc/self/cgroup");
  const std::string own{std::istreambuf_iterator<char>(file), {}};
  return std::min(all, cgroup_memory_bytes(own));
}

}  // namespace dlls::base

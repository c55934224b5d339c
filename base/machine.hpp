// What of the machine this process may use.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string_view>

namespace dlls::base {

// Memory in bytes: the machine's, or the least that a cgroup around this process allows (a
// container, a systemd unit).
std::uint64_t memory_bytes();

// The least memory.max of a control group (cgroups v2; /proc/self/cgroup has it as "0::/a/b") and
// those around it, under `root`; UINT64_MAX without one.
std::uint64_t cgroup_memory_bytes(
    std::string_view self_cgroup, const std::filesystem::path& root = "/sys/fs/cgroup");

}  // namespace dlls::base

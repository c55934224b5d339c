// The GPUs of this machine, found through the CUDA module where there is one.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/error.hpp"

namespace dlls::kernels {

struct device_info {
  std::string name;                // "NVIDIA H100 80GB HBM3"
  std::uint64_t memory_bytes = 0;  // of the whole device
  int major = 0, minor = 0;        // compute capability
};

// Loads libdlls_cuda.so once and asks it; never fails a program that has no GPU. The file is looked
// for in the environment variable DLLS_CUDA_MODULE, then beside the program, then in ../lib/dlls.
// not_found: no module; version_mismatch: a module of another build; unavailable: no driver or no
// device, the message says which. Any thread.
base::result<std::vector<device_info>> probe_device();

// The same with the module's path given, for tests.
base::result<std::vector<device_info>> probe_device(const std::filesystem::path& module);

}  // namespace dlls::kernels

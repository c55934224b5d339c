#include "kernels/device.hpp"

#include <dlfcn.h>

#include <algorithm>
#include <cstdlib>
#include <system_error>

#include "kernels/cuda/device_module.hpp"

namespace dlls::kernels {
namespace {

constexpr const char* module_name = "libdlls_cuda.so";
constexpr std::int32_t devices_max = 16;

std::filesystem::path find_module() {
  if (const char* named = std::getenv("DLLS_CUDA_MODULE")) return named;
  std::error_code failed;
  const auto folder = std::filesystem::read_symlink("/proc/self/exe", failed).parent_path();
  for (const auto& place : {folder / module_name, folder / ".." / "lib" / "dlls" / module_name})
    if (std::filesystem::exists(place, failed)) return place;
  return {};
}

}  // namespace

base::result<std::vector<device_info>> probe_device() {
  const auto module = find_module();
  if (module.empty())
    return base::error{
        base::errc::not_found, "no CUDA module beside the program",
        "build with -DDLLS_CUDA=ON where a CUDA compiler is installed"};
  return probe_device(module);
}

base::result<std::vector<device_info>> probe_device(const std::filesystem::path& module) {
  // Never closed: cudart does not survive it.
  void* const handle = dlopen(std::filesystem::absolute(module).c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr)
    return base::error{base::errc::not_found, std::string("CUDA module: ") + dlerror()};
  const auto abi = reinterpret_cast<decltype(&dlls_cuda_abi)>(dlsym(handle, "dlls_cuda_abi"));
  const auto probe = reinterpret_cast<decltype(&dlls_cuda_probe)>(dlsym(handle, "dlls_cuda_probe"));
  if (abi == nullptr || probe == nullptr || abi() != DLLS_CUDA_ABI)
    return base::error{
        base::errc::version_mismatch, module.string() + " belongs to another build",
        "build the module and the program together"};
  dlls_cuda_device found[devices_max];
  char why[256] = "";
  const auto count = std::min(probe(found, devices_max, why), devices_max);
  if (count <= 0)
    return base::error{base::errc::unavailable, std::string("no CUDA device: ") + why};
  std::vector<device_info> devices;
  for (std::int32_t i = 0; i < count; ++i)
    devices.push_back({found[i].name, found[i].memory_bytes, found[i].major, found[i].minor});
  return devices;
}

}  // namespace dlls::kernels

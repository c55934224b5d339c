#include "kernels/cuda/device_module.hpp"

#include <cuda_runtime_api.h>

#include <cstdio>
#include <cstring>

extern "C" int32_t dlls_cuda_abi(void) { return DLLS_CUDA_ABI; }

extern "C" int32_t dlls_cuda_probe(dlls_cuda_device* out, int32_t capacity, char* why) {
  int count = 0;
  // On any error the count is untouched and means nothing (no driver: cudaErrorInsufficientDriver).
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status != cudaSuccess) count = 0;
  if (count == 0 && why != nullptr)
    std::snprintf(why, 256, "%s", status == cudaSuccess ? "no device" : cudaGetErrorString(status));
  for (int i = 0; i < count && i < capacity; ++i) {
    std::memset(&out[i], 0, sizeof out[i]);
    cudaDeviceProp properties;
    if (cudaGetDeviceProperties(&properties, i) != cudaSuccess) continue;
    std::snprintf(out[i].name, sizeof out[i].name, "%s", properties.name);
    out[i].memory_bytes = properties.totalGlobalMem;
    out[i].major = properties.major;
    out[i].minor = properties.minor;
  }
  return count;
}

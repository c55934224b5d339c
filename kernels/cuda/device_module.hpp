// The whole interface between the program and its CUDA module, libdlls_cuda.so.
//
// The program is built and run without CUDA; the module carries cudart inside and is loaded with
// dlopen (kernels/device.hpp), so a machine without a driver loses nothing. Plain C, fixed layouts:
// the two are compiled by different compilers. Grow by adding functions, and raise the version.
#pragma once
#include <stdint.h>

#define DLLS_CUDA_ABI 1

extern "C" {

struct dlls_cuda_device {
  char name[256];         // as the driver calls it, ends with 0
  uint64_t memory_bytes;  // of the whole device
  int32_t major, minor;   // compute capability
};

// DLLS_CUDA_ABI as the module was compiled with; the program refuses any other.
int32_t dlls_cuda_abi(void);

// Writes up to `capacity` devices and returns how many there are. No driver, an old driver or no
// device: 0, and never an error; `why` (at least 256 bytes, or null) then says it in words.
int32_t dlls_cuda_probe(struct dlls_cuda_device* out, int32_t capacity, char* why);

}  // extern "C"

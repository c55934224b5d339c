#include "kernels/device.hpp"

#include <catch2/catch.hpp>

namespace dlls::kernels {
namespace {

TEST_CASE("a machine without a CUDA module or device says so, and one with a device names it") {
  const auto devices = probe_device();
  if (!devices) {
    const auto code = devices.error().code;
    CHECK((code == base::errc::not_found || code == base::errc::unavailable));
    WARN("SKIPPED: " << devices.error().text());
    return;
  }
  REQUIRE_FALSE(devices->empty());
  for (const auto& d : *devices) {
    CHECK_FALSE(d.name.empty());
    CHECK(d.memory_bytes > 1u << 28);
    CHECK(d.major >= 7);
  }
}

TEST_CASE("a file that is no CUDA module is refused") {
  CHECK(probe_device("/nonexistent/libdlls_cuda.so").error().code == base::errc::not_found);
  // A shared library, and not ours.
  CHECK(probe_device(DLLS_OTHER_LIBRARY).error().code == base::errc::version_mismatch);
}

}  // namespace
}  // namespace dlls::kernels

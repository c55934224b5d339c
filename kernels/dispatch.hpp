// Which instruction set the kernels run on: found at start, or forced.
#pragma once
#include <string_view>

#include "base/error.hpp"
#include "kernels/isa.hpp"

namespace dlls::kernels {

// "scalar", "avx2", "avx512".
std::string_view name(isa which) noexcept;
// invalid_argument for any other text.
base::result<isa> isa_from(std::string_view text);

// The best that this processor and this build have; the operating system saves its registers.
isa detected() noexcept;
bool available(isa which) noexcept;

// What the environment variable DLLS_KERNELS asks for (one of the names), else detected().
// invalid_argument: an unknown name; unsupported: this machine lacks it. Programs call it once at
// start to report a bad value; active() ends the process on one.
base::result<isa> requested();

// What the kernels run on. Fixed at the first call, except by force().
isa active() noexcept;

// For tests and benchmarks: switch while no kernel runs. unsupported when the machine lacks it.
base::result<> force(isa which);

}  // namespace dlls::kernels

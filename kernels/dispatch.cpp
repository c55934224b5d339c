#include "kernels/dispatch.hpp"

#include <atomic>
#include <cstdlib>
#include <string>

#include "base/check.hpp"
#include "base/log.hpp"

namespace dlls::kernels {
namespace {

constexpr int undecided = -1;
std::atomic<int> chosen{undecided};

base::error lacking(isa which) {
  return {
      base::errc::unsupported,
      "this machine cannot run the '" + std::string(name(which)) + "' kernels",
      "the best it has is '" + std::string(name(detected())) + "'; unset DLLS_KERNELS to use it"};
}

}  // namespace

std::string_view name(isa which) noexcept {
  switch (which) {
    case isa::scalar:
      return "scalar";
    case isa::avx2:
      return "avx2";
    case isa::avx512:
      return "avx512";
  }
  return "unknown";
}

base::result<isa> isa_from(std::string_view text) {
  for (const auto which : {isa::scalar, isa::avx2, isa::avx512})
    if (text == name(which)) return which;
  return base::error{
      base::errc::invalid_argument, "no kernels are called '" + std::string(text) + "'",
      "use scalar, avx2 or avx512"};
}

isa detected() noexcept {
#if defined(DLLS_KERNELS_X86)
  __builtin_cpu_init();
  // GCC's test includes that the operating system saves the wide registers.
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                    __builtin_cpu_supports("f16c");
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512vnni");
  if (avx2) return avx512 ? isa::avx512 : isa::avx2;
#endif
  return isa::scalar;
}

bool available(isa which) noexcept { return which <= detected(); }

base::result<isa> requested() {
  const char* wanted = std::getenv("DLLS_KERNELS");
  if (wanted == nullptr || *wanted == '\0') return detected();
  auto which = isa_from(wanted);
  if (which && !available(*which)) return lacking(*which);
  return which;
}

isa active() noexcept {
  const int known = chosen.load(std::memory_order_relaxed);
  if (known != undecided) return static_cast<isa>(known);
  const auto which = requested();
  if (!which) base::log_error("kernels", "DLLS_KERNELS: {}", which.error().text());
  base::check(which.has_value(), "DLLS_KERNELS names kernels that this machine can run");
  int expected = undecided;
  chosen.compare_exchange_strong(expected, static_cast<int>(*which));
  return static_cast<isa>(chosen.load());
}

base::result<> force(isa which) {
  if (!available(which)) return lacking(which);
  chosen = static_cast<int>(which);
  return {};
}

}  // namespace dlls::kernels

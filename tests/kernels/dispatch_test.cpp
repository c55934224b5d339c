#include "kernels/dispatch.hpp"

#include <catch2/catch.hpp>
#include <cstdlib>
#include <string>

#include "kernels/memory.hpp"
#include "kernels/ops.hpp"
#include "tests/kernels/kernel_cases.hpp"

namespace dlls::kernels {
namespace {

// Sets DLLS_KERNELS for one scope.
class environment {
 public:
  explicit environment(const char* value) {
    if (const char* before = std::getenv("DLLS_KERNELS")) before_ = before, had_ = true;
    setenv("DLLS_KERNELS", value, 1);
  }
  ~environment() {
    if (had_)
      setenv("DLLS_KERNELS", before_.c_str(), 1);
    else
      unsetenv("DLLS_KERNELS");
  }

 private:
  std::string before_;
  bool had_ = false;
};

TEST_CASE("the environment chooses the kernels, and a wrong choice is an error") {
  for (const auto which : {isa::scalar, isa::avx2, isa::avx512}) {
    const environment forced(std::string(name(which)).c_str());
    const auto got = requested();
    if (available(which)) {
      REQUIRE(got);
      CHECK(*got == which);
    } else {
      CHECK(got.error().code == base::errc::unsupported);
      WARN("SKIPPED: this machine has no " << name(which));
    }
  }
  const environment wrong("sse9");
  CHECK(requested().error().code == base::errc::invalid_argument);
  const environment none("");
  CHECK(requested().value() == detected());
}

TEST_CASE("the forced kernels are the ones that run") {
  test::with_each_isa([](const inference_ops& table) {
    CHECK(table.which == active());
    CHECK(&table == &inference_ops_for(active()));
  });
  // Their numbers tell them apart as well: a fused multiply-add rounds once, the scalar twin twice.
  if (!available(isa::avx2)) return;
  const auto dot = [](isa which) {
    REQUIRE(force(which));
    base::random_source random(7);
    const auto w = test::random_floats(random, 16 * 1000), x = test::random_floats(random, 1000);
    huge_buffer memory(packed_bytes(element::f32, 16, 1000), false);
    const auto packed =
        pack(memory.data(), element::f32, 16, 1000, reinterpret_cast<const std::byte*>(w.data()));
    std::vector<float> y(16);
    thread_pool pool(1);
    const product p[] = {{y.data(), 16, &packed, false}};
    matmul(pool, p, {x.data(), nullptr, 1, 1000});
    return y;
  };
  const auto before = active();
  CHECK(dot(isa::scalar) != dot(isa::avx2));
  REQUIRE(force(before));
}

}  // namespace
}  // namespace dlls::kernels

#include "base/machine.hpp"

#include <catch2/catch.hpp>
#include <fstream>

#include "tests/support/temp_folder.hpp"

using namespace dlls::base;

TEST_CASE("the memory of a container is the least that a group around it allows") {
  const dlls::test::temp_folder root;
  std::filesystem::create_directories(root / "a/b/c");
  const auto allow = [&](const char* group, const char* text) {
    std::ofstream(root / group / "memory.max") << text << '\n';
  };
  allow("a", "max");
  allow("a/b", "5000000");
  allow("a/b/c", "7000000");
  const auto of = [&](const char* text) { return cgroup_memory_bytes(text, root / ""); };
  CHECK(of("0::/a/b/c\n") == 5000000);
  CHECK(of("4:memory:/x\n0::/a/b\n") == 5000000);
  CHECK(of("0::/a") == UINT64_MAX);
  allow(".", "3000000");
  CHECK(of("0::/a/b/c\n") == 3000000);
  CHECK(of("0::/\n") == 3000000);
  CHECK(of("0::/gone/away\n") == 3000000);
  CHECK(of("0::/../../a/b\n") == 3000000);  // stands outside of what this process sees
  CHECK(of("10::/a/b\n") == UINT64_MAX);
  CHECK(of("") == UINT64_MAX);
  CHECK(memory_bytes() > 1 << 20);
}

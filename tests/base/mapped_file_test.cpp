#include "base/mapped_file.hpp"

#include <catch2/catch.hpp>
#include <fstream>
#include <numeric>

#include "tests/support/catch_result.hpp"
#include "tests/support/temp_folder.hpp"

using namespace dlls;
using base::errc;
using base::mapped_file;
namespace fs = std::filesystem;

namespace {

fs::path file_of(const test::temp_folder& folder, std::size_t bytes) {
  const auto path = folder / "file";
  std::ofstream{path} << std::string(bytes, '\x01');
  return path;
}

int sum(std::span<const std::byte> bytes) {
  return std::accumulate(bytes.begin(), bytes.end(), 0, [](int so_far, std::byte b) {
    return so_far + static_cast<int>(b);
  });
}

}  // namespace

TEST_CASE("a mapped file that is cut reads as zeros from there on, and says so") {
  test::temp_folder folder;
  constexpr int size = 5 * 4096 + 100;
  const auto path = file_of(folder, size);
  auto file = mapped_file::open(path).value();
  const auto other_path = folder / "other";
  fs::copy(path, other_path);
  const auto other = mapped_file::open(other_path).value();
  CHECK(sum(file.bytes()) == size);
  CHECK_FALSE(file.damaged());
  SECTION("in the middle") {
    fs::resize_file(path, 4096);
    CHECK(sum(file.bytes()) == 4096);
    CHECK(sum(file.bytes().subspan(3 * 4096)) == 0);
  }
  SECTION("to nothing") {
    fs::resize_file(path, 0);
    CHECK(sum(file.bytes().last(1)) == 0);
    CHECK(sum(file.bytes()) == 0);
  }
  SECTION("and moved before it is read") {
    fs::resize_file(path, 0);
    mapped_file moved{std::move(file)};
    CHECK(sum(moved.bytes()) == 0);
    file = std::move(moved);
  }
  CHECK(file.damaged());
  CHECK_FALSE(other.damaged());
  CHECK(sum(other.bytes()) == size);
}

TEST_CASE("a file that was written to in place says so, one renamed over it is another file") {
  test::temp_folder folder;
  const auto path = file_of(folder, 100);
  const auto file = mapped_file::open(path).value();
  std::ofstream{folder / "new"} << std::string(100, '\x02');
  fs::rename(folder / "new", path);
  CHECK_FALSE(file.damaged());
  CHECK(sum(file.bytes()) == 100);
  const auto second = mapped_file::open(path).value();
  std::fstream{path, std::ios::in | std::ios::out} << '\x03';
  fs::last_write_time(path, fs::last_write_time(path) + std::chrono::seconds{1});
  CHECK(second.damaged());
}

TEST_CASE("what is no file with bytes in it is refused, and there is an end to their number") {
  test::temp_folder folder;
  CHECK(mapped_file::open(folder / "none").error().code == errc::not_found);
  CHECK(mapped_file::open(folder.path()).error().code == errc::invalid_argument);
  const auto path = file_of(folder, 0);
  CHECK(mapped_file::open(path).error().code == errc::corrupt);
  std::ofstream{path} << "x";
  std::vector<mapped_file> many;
  for (std::size_t i = 0; i < mapped_file::mapped_files_max; ++i)
    many.push_back(mapped_file::open(path).value());
  CHECK(mapped_file::open(path).error().code == errc::resource_exhausted);
  many.pop_back();
  CHECK(mapped_file::open(path));
}

// A folder that exists as long as the object does.
#pragma once
#include <filesystem>
#include <string_view>
#include <system_error>

#include "base/random.hpp"

namespace dlls::test {

class temp_folder {
 public:
  temp_folder() : path_(std::filesystem::temp_directory_path() / base::random_id("dlls-test-")) {
    std::filesystem::create_directories(path_);
  }
  ~temp_folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  temp_folder(const temp_folder&) = delete;
  temp_folder& operator=(const temp_folder&) = delete;

  const std::filesystem::path& path() const noexcept { return path_; }
  std::filesystem::path operator/(std::string_view name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

}  // namespace dlls::test

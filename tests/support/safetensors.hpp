// Reads safetensors files (F32, F64) for comparisons. Tests only: trusts its input's author, but
// fails the test on a file that is no such thing.
#pragma once
#include <boost/json.hpp>
#include <catch2/catch.hpp>
#include <cstring>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "base/file.hpp"

namespace dlls::test {

struct reference_tensor {
  std::vector<std::size_t> shape;
  std::vector<double> values;  // row-major, widened
  std::size_t rows() const { return shape.size() > 1 ? shape.front() : 1; }
};

// By name. Format: u64 length of a JSON header, the header, the data that it gives offsets into.
inline std::map<std::string, reference_tensor> read_safetensors(const std::filesystem::path& path) {
  INFO(path);
  const auto content = base::read_file(path);
  REQUIRE(content);
  std::uint64_t header_bytes = 0;
  REQUIRE(content->size() > sizeof header_bytes);
  std::memcpy(&header_bytes, content->data(), sizeof header_bytes);
  REQUIRE(header_bytes <= content->size() - sizeof header_bytes);
  const auto header = boost::json::parse(content->substr(8, header_bytes)).as_object();
  std::map<std::string, reference_tensor> tensors;
  for (const auto& [name, about] : header) {
    if (name == "__metadata__") continue;
    reference_tensor t;
    std::size_t values = 1;
    for (const auto& n : about.at("shape").as_array()) {
      t.shape.push_back(n.to_number<std::size_t>());
      values *= t.shape.back();
    }
    const bool wide = about.at("dtype").as_string() == "F64";
    REQUIRE((wide || about.at("dtype").as_string() == "F32"));
    const auto offset = 8 + header_bytes + about.at("data_offsets").at(0).to_number<std::size_t>();
    REQUIRE(offset + values * (wide ? 8 : 4) <= content->size());
    t.values.resize(values);
    for (std::size_t i = 0; i < values; ++i) {
      float narrow = 0;
      if (wide) {
        std::memcpy(&t.values[i], content->data() + offset + i * 8, 8);
      } else {
        std::memcpy(&narrow, content->data() + offset + i * 4, 4);
        t.values[i] = double(narrow);
      }
    }
    tensors.emplace(std::string(name), std::move(t));
  }
  return tensors;
}

}  // namespace dlls::test

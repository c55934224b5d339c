// What we make of a type's blocks against what the Python package `gguf` makes of them
// (reference/types/make.py).
#include <catch2/catch.hpp>
#include <cstring>
#include <string>
#include <vector>

#include "kernels/memory.hpp"
#include "kernels/packed.hpp"
#include "model/gguf.hpp"
#include "tests/support/reference.hpp"

namespace dlls {
namespace {

TEST_CASE("every type's values are those that ggml's own tools find in its blocks") {
  const auto file =
      model::gguf_file::open(test::tree_reference_folder() / "types" / "dequantised.gguf");
  REQUIRE(file);
  for (const auto type : model::tensor_types()) {
    if (type == model::tensor_type::f32) continue;  // it is the answer's own
    const std::string name{model::name(type)};
    INFO(name);
    const auto* blocks = (*file)->find(name);
    const auto* answer = (*file)->find(name + ".values");
    REQUIRE((blocks != nullptr && answer != nullptr && blocks->type == type));
    REQUIRE(blocks->shape == answer->shape);
    const auto rows = blocks->rows(), columns = blocks->row_values();
    std::vector<float> expected(answer->elements()), got(expected.size());
    std::memcpy(expected.data(), answer->data.data(), answer->data.size());
    const auto layout = model::element_of(type);
    kernels::dequantise(got.data(), layout, blocks->data.data(), got.size());
    CHECK(got == expected);

    const kernels::huge_buffer memory(kernels::packed_bytes(layout, rows, columns));
    const auto packed = kernels::pack(memory.data(), layout, rows, columns, blocks->data.data());
    for (std::size_t row = 0; row < rows; ++row)
      kernels::unpack_row(got.data() + row * columns, packed, row);
    CHECK(got == expected);
  }
}

}  // namespace
}  // namespace dlls

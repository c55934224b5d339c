#include "model/tensor_type.hpp"

#include <algorithm>
#include <array>

#include "base/check.hpp"

namespace dlls::model {
namespace {

using kernels::element;

struct known_type {
  tensor_type type;
  element layout;
  std::string_view name;
};

constexpr std::array known{
    known_type{tensor_type::f32, element::f32, "f32"},
    known_type{tensor_type::f16, element::f16, "f16"},
    known_type{tensor_type::q4_0, element::q4_0, "q4_0"},
    known_type{tensor_type::q4_1, element::q4_1, "q4_1"},
    known_type{tensor_type::q5_0, element::q5_0, "q5_0"},
    known_type{tensor_type::q5_1, element::q5_1, "q5_1"},
    known_type{tensor_type::q8_0, element::q8_0, "q8_0"},
    known_type{tensor_type::q2_k, element::q2_k, "q2_k"},
    known_type{tensor_type::q3_k, element::q3_k, "q3_k"},
    known_type{tensor_type::q4_k, element::q4_k, "q4_k"},
    known_type{tensor_type::q5_k, element::q5_k, "q5_k"},
    known_type{tensor_type::q6_k, element::q6_k, "q6_k"},
    known_type{tensor_type::iq4_nl, element::iq4_nl, "iq4_nl"},
    known_type{tensor_type::iq4_xs, element::iq4_xs, "iq4_xs"},
    known_type{tensor_type::bf16, element::bf16, "bf16"}};

constexpr auto types = [] {
  std::array<tensor_type, known.size()> all{};
  std::ranges::transform(known, all.begin(), &known_type::type);
  return all;
}();

const known_type* find(tensor_type type) noexcept {
  const auto* found = std::ranges::find(known, type, &known_type::type);
  return found == known.end() ? nullptr : found;
}

}  // namespace

std::span<const tensor_type> tensor_types() noexcept { return types; }

std::size_t block_values(tensor_type type) noexcept {
  const auto* found = find(type);
  return found ? kernels::values_together(found->layout) : 0;
}

std::size_t block_bytes(tensor_type type) noexcept {
  const auto* found = find(type);
  return found ? kernels::bytes_together(found->layout) : 0;
}

std::string_view name(tensor_type type) noexcept {
  const auto* found = find(type);
  return found ? found->name : "unknown";
}

kernels::element element_of(tensor_type type) noexcept {
  const auto* found = find(type);
  base::check(found != nullptr, "a tensor type that gguf_file lets through");
  return found->layout;
}

}  // namespace dlls::model

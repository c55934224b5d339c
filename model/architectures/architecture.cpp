#include "model/architectures/architecture.hpp"

#include <string>

namespace dlls::model {
namespace {
constexpr const architecture* all[] = {
    &llama_architecture, &qwen2_architecture, &qwen3_architecture, &gemma3_architecture};
}

const architecture* find_architecture(std::string_view name) noexcept {
  for (const auto* a : all)
    if (a->name == name) return a;
  return nullptr;
}

std::string architecture_names() {
  std::string names;
  for (const auto* a : all) (names += names.empty() ? "" : ", ") += a->name;
  return names;
}

}  // namespace dlls::model

// What this program knows about a model architecture: one short file each, beside this one.
//
// To add one: write NAME.cpp with a `describe` that sets the traits (model/llama_config.hpp) in
// which it differs from LLaMA, and name it here and in the list of architecture.cpp. What no trait
// says yet needs a new trait, and a step in the loader or the forward pass that reads it.
#pragma once
#include <string_view>

#include "model/config_reader.hpp"
#include "model/llama_config.hpp"

namespace dlls::model {

struct architecture {
  std::string_view name;  // general.architecture, and the prefix of its keys
  // Sets config.traits, and may refuse by `read`. The config's shape has been read by then, and is
  // within bounds unless `read` has failed.
  void (*describe)(config_reader& read, llama_config& config);
};

extern const architecture llama_architecture, qwen2_architecture, qwen3_architecture,
    gemma3_architecture;

// nullptr for a name that is none of these.
const architecture* find_architecture(std::string_view name) noexcept;
// "llama, qwen2, ..."
std::string architecture_names();

}  // namespace dlls::model

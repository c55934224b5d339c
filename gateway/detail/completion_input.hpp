// Bodies of /v1/chat/completions and /v1/completions, read and checked.
#pragma once
#include <string>
#include <vector>

#include "gateway/detail/json_input.hpp"
#include "gateway/generation.hpp"

namespace dlls::gateway::detail {

// One HTTP request: one generation for each choice.
struct completion_input {
  std::vector<generate_request> choices;  // by index; the seed rises by one a choice
  bool stream = false;
  bool include_usage = false;  // a last chunk with the usage
};

// `first` holds what is wrong, else the input is usable.
completion_input read_chat(std::string_view body, const caller& who, problem& first);
completion_input read_completion(std::string_view body, const caller& who, problem& first);

}  // namespace dlls::gateway::detail

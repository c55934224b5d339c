// The number that stands for a piece of text in one model's vocabulary.
#pragma once
#include <cstdint>

namespace dlls::model {

// In [0, vocab_size) of the tokenizer it came from.
using token_id = std::int32_t;

// "The vocabulary has no such token": what bos(), eos() and the like return then.
inline constexpr token_id no_token = -1;

}  // namespace dlls::model

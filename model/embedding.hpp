// One text's embedding in the making: its tokens, and what has been pooled of their hidden states.
// No model and no cache: whoever computes the hidden states calls accept(), chunk by chunk.
//
// What is pooled is what the final norm makes of the last layer's stream, as in llama.cpp.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/error.hpp"
#include "model/llama_config.hpp"
#include "model/token.hpp"

namespace dlls::model {

struct embedding_request {
  std::vector<token_id> tokens;  // at least one; with those the model wants around a text
  std::optional<pooling> how;    // none: as the model file says
};

// Movable, one thread at a time.
class embedding {
 public:
  // too_long: more tokens than the model's context (the message carries both numbers).
  // invalid_argument: no tokens, or an id outside the vocabulary. unsupported: the request leaves
  // the pooling to a model file that says one which we do not compute.
  static base::result<embedding> begin(const llama_config& config, embedding_request request);

  std::span<const token_id> tokens() const noexcept { return tokens_; }
  // All of it is prompt, and it never grows.
  std::uint32_t prompt_size() const noexcept { return static_cast<std::uint32_t>(tokens_.size()); }
  std::uint32_t tokens_max() const noexcept { return prompt_size(); }
  pooling how() const noexcept { return how_; }

  // Hidden states (rows, dim) that come next: for the mean those of every token from the first on,
  // in pieces of any size, else the last token's alone. Not after the end.
  void accept(std::span<const float> hidden);
  // Forgets what was accepted.
  void restart() noexcept;

  bool finished() const noexcept {
    return accepted_ == (how_ == pooling::mean ? tokens_.size() : 1);
  }
  // (dim), of any length; once it is finished. The mean is summed up in double in the tokens'
  // order: it is the same to the bit whatever the pieces were.
  std::vector<float> vector() const;

 private:
  embedding(std::vector<token_id> tokens, pooling how, std::uint32_t dim);

  std::vector<token_id> tokens_;
  pooling how_;
  std::vector<double> sum_;   // (dim)
  std::size_t accepted_ = 0;  // rows
};

// Of length 1 in the Euclidean norm; one that has no direction (zero, or no numbers) as it is.
std::vector<float> unit_vector(std::span<const float> v);

// The first `dimensions` numbers, of length 1: what is left of an embedding whose model was trained
// to be cut (Kusupati et al. 2022, Matryoshka). invalid_argument: 0, or more than there are.
base::result<std::vector<float>> shortened(std::span<const float> v, std::size_t dimensions);

}  // namespace dlls::model

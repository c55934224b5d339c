// What a training job asks for, as a value and as JSON.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.hpp"

namespace dlls::model {

// The learning rate after the warm-up: `constant`, or half a cosine down to min_rate_ratio.
enum class rate_schedule : std::uint8_t { constant, cosine };

// The shape of a model trained from nothing; its vocabulary is the tokenizer's.
struct pretrain_shape {
  std::uint32_t dim = 288;
  std::uint32_t layers = 6;
  std::uint32_t heads = 6;     // dim must divide by it, into an even head size
  std::uint32_t kv_heads = 6;  // heads must divide by it
  std::uint32_t ff = 768;
  double rope_base = 10000.0;
  double rms_eps = 1e-5;
  bool tied = true;  // the output matrix is the embedding
};

// Everything that decides the result, given the base file and the data set. Two runs of the same
// spec, data, program, instruction set and thread count give the same bits.
struct training_spec {
  std::string kind = "fine_tune";  // "fine_tune": all weights of the base; "pretrain": from nothing
  std::uint32_t epochs = 3;
  // Examples of one optimizer step (0: all of them). Examples have their own length; the loss is
  // the mean over all counted targets of the step.
  std::uint32_t batch_rows = 8;
  // A step's examples are worked off in pieces of at most this many tokens (a longer example
  // alone): bounds the memory, and the gradient is the same but for rounding.
  std::uint32_t micro_batch_tokens = 512;
  double learning_rate = 1e-4;
  double beta1 = 0.9;
  double beta2 = 0.95;
  double eps = 1e-8;
  double weight_decay = 0.0;  // on matrices; on vectors (norms) only with decay_vectors
  bool decay_vectors = false;
  double clip = 1.0;          // greatest global gradient norm; 0: no limit
  double warmup_ratio = 0.0;  // of all steps
  rate_schedule schedule = rate_schedule::constant;
  double min_rate_ratio = 0.1;  // cosine ends at learning_rate times this
  bool shuffle = true;          // a new order each epoch, from the seed
  std::uint64_t seed = 42;
  std::uint32_t context = 0;  // tokens an example may have; 0: the base model's own limit
  double target_loss = 0.0;   // ends after an epoch whose mean loss is below; 0: never
  pretrain_shape shape;       // for "pretrain"
};

// One line of JSON with every field, always in the same order: also what a checkpoint's spec hash
// is taken of.
std::string to_json(const training_spec& spec);

// Absent fields keep their defaults. invalid_argument names the field that is unknown, of the wrong
// type or out of range.
base::result<training_spec> parse_training_spec(std::string_view json);

// The ranges: counts above zero, rates finite and in order, shapes that divide.
base::result<> validate(const training_spec& spec);

}  // namespace dlls::model

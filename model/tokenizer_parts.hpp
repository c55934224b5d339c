// What a tokenizer is made of. Internal to model/tokenizer*.cpp.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/error.hpp"
#include "model/tokenizer.hpp"

namespace dlls::model {

// GGUF's tokenizer.ggml.token_type.
enum class token_kind : std::uint8_t {
  normal = 1,
  unknown = 2,
  control = 3,
  user_defined = 4,
  unused = 5,
  byte = 6,
};

// Every token by id, as the file has it.
struct vocabulary {
  std::vector<std::string> names;
  std::vector<token_kind> kinds;
  std::unordered_map<std::string_view, token_id> by_name;  // views into names; the lowest id

  std::size_t size() const noexcept { return names.size(); }
  token_id find(std::string_view name) const noexcept {
    const auto found = by_name.find(name);
    return found == by_name.end() ? no_token : found->second;
  }
};

// Turns text without special tokens in it into ids; one for each kind of tokenizer.
class text_encoder {
 public:
  virtual ~text_encoder() = default;
  // `fresh`: at the beginning of the text, or after a special token. Appends.
  virtual void encode(std::string_view text, bool fresh, std::vector<token_id>& ids) const = 0;
  // The bytes that a token of ordinary text stands for.
  virtual std::string piece(std::string_view name, token_kind kind) const = 0;
  // Whether encode() puts a space before a fresh text, which decode() takes away again.
  virtual bool adds_space() const noexcept { return false; }
};

// `tokens` outlives the encoder.
base::result<std::unique_ptr<const text_encoder>> make_bpe_encoder(
    const gguf_file& file, const vocabulary& tokens);
base::result<std::unique_ptr<const text_encoder>> make_sentencepiece_encoder(
    const gguf_file& file, const vocabulary& tokens);

// Finds tokens that are written out in a text: "<|im_end|>".
class special_finder {
 public:
  void add(std::string_view name, token_id id, bool always);
  void finish();  // after the last add()

  struct match {
    std::size_t bytes = 0;  // 0: none here
    token_id id = no_token;
  };
  // The longest at the front of `text`; those not added as `always` only within its first
  // `trusted_bytes`.
  match longest(std::string_view text, std::size_t trusted_bytes) const noexcept;

 private:
  struct entry {
    std::string_view name;
    token_id id;
    bool always;
  };
  std::vector<entry> entries_;  // sorted by name
  bool starts_[256] = {};       // by first byte
};

struct tokenizer::parts {
  vocabulary tokens;
  std::unique_ptr<const text_encoder> encoder;
  std::vector<std::string> pieces;  // by id
  special_finder specials;
  std::vector<token_id> end_tokens;  // sorted
  token_id bos = no_token, eos = no_token, unknown = no_token, padding = no_token;
  bool add_bos = false, add_eos = false;
};

}  // namespace dlls::model

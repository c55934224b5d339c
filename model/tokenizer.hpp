// Text to token ids and back, by the vocabulary that a model file carries.
//
// Two kinds, told apart by `tokenizer.ggml.model`:
//   "gpt2"   byte-level BPE (Sennrich et al. 2016; bytes as in GPT-2): the text is cut into words
//   by
//            a pattern named in `tokenizer.ggml.pre`, then pairs are merged by rank.
//            Patterns: smollm, gpt-2 (and "default"), llama-bpe (llama3), qwen2.
//   "llama"  SentencePiece BPE by scores, with byte fallback (LLaMA 2, TinyLlama, Mistral).
// Ids equal llama.cpp's for the same file (tests/parity/tokenizer_test.cpp).
#pragma once
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "model/gguf.hpp"
#include "model/token.hpp"

namespace dlls::model {

// A stretch of a prompt. Only where `parse_special` is set do "<|im_end|>" and its like become
// their control tokens; elsewhere they are plain text. So what a user writes can't close his turn.
struct text_part {
  std::string text;
  bool parse_special = false;
};

// Immutable: any number of threads may use one. Holds no reference to the file it came from.
class tokenizer {
 public:
  // not_found or corrupt when the metadata is missing or contradicts itself (lengths, ids out of
  // range, a merge of unknown tokens, a missing byte); unsupported for another kind or pattern.
  static base::result<std::shared_ptr<const tokenizer>> from(const gguf_file& file);
  virtual ~tokenizer() = default;
  tokenizer(const tokenizer&) = delete;
  tokenizer& operator=(const tokenizer&) = delete;

  // Any bytes are accepted; for well-formed UTF-8, decode(encode(x, false)) == x. Takes
  // O(n log n) in the length of the text, whatever it is. Adds no begin-of-text token.
  std::vector<token_id> encode(std::string_view text, bool parse_special) const;
  // The parts as one text: words may reach across their borders, as if they had been joined.
  std::vector<token_id> encode(std::span<const text_part> parts) const;
  // What a model wants to see: bos() first if add_bos(), then encode().
  std::vector<token_id> encode_prompt(std::string_view text, bool parse_special) const;
  std::vector<token_id> encode_prompt(std::span<const text_part> parts) const;

  // The text of a sequence. Bytes as they come: may be no UTF-8 where the ids cut a character.
  // Special tokens give nothing unless `with_special`.
  std::string decode(std::span<const token_id> ids, bool with_special = false) const;

  // The bytes a token stands for; for a special token its name ("<|im_end|>"). Empty for an id
  // outside the vocabulary. Lives as long as the tokenizer.
  std::string_view piece(token_id id) const noexcept;
  // Control and unknown tokens: they mark structure and are no part of a text.
  bool is_special(token_id id) const noexcept;
  // The token whose name is exactly `piece` (special tokens included), or no_token.
  token_id find(std::string_view piece) const noexcept;

  // no_token where the file names none.
  token_id bos() const noexcept { return bos_; }
  token_id eos() const noexcept { return eos_; }
  token_id unknown() const noexcept { return unknown_; }
  token_id padding() const noexcept { return padding_; }
  // Every token that ends an answer: eos, eot, and the known names of such tokens ("<|im_end|>",
  // "<|eot_id|>", "<|endoftext|>" and so on) that the vocabulary has as special ones. Sorted.
  std::span<const token_id> end_tokens() const noexcept { return end_tokens_; }
  bool is_end(token_id id) const noexcept;
  // Whether the model was trained with bos() before every text.
  bool add_bos() const noexcept { return add_bos_; }
  std::size_t vocab_size() const noexcept { return pieces_.size(); }

 protected:
  tokenizer() = default;
  // Text without special tokens in it, appended to `ids`. `at_start`: nothing precedes it.
  virtual void encode_plain(
      std::string_view text, bool at_start, std::vector<token_id>& ids) const = 0;
  // Whether decode() drops one space at the start, since encoding puts one there.
  virtual bool adds_space() const noexcept { return false; }

 private:
  friend struct tokenizer_loader;
  struct special {
    std::string_view text;  // in names_
    token_id id;
  };
  // The first, and there the longest, special token in text[from..); npos when there is none.
  std::size_t find_special(std::string_view text, std::size_t from, const special*& found) const;

  std::vector<std::string> pieces_;    // by id: bytes
  std::vector<std::string> names_;     // by id: as in the file
  std::vector<std::uint8_t> special_;  // by id: is_special
  std::vector<special> specials_;      // sorted by text; also user-defined tokens
  std::vector<token_id> by_name_;      // ids, sorted by names_
  std::vector<token_id> end_tokens_;
  token_id bos_ = no_token, eos_ = no_token, unknown_ = no_token, padding_ = no_token;
  bool add_bos_ = false;
};

}  // namespace dlls::model

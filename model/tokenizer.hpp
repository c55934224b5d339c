// Text to token ids and back, by the vocabulary that a model file carries.
//
// Two kinds, told apart by `tokenizer.ggml.model`:
//   "gpt2"   byte-level BPE (Sennrich et al. 2016; bytes as in GPT-2): the text is cut into words
//            by a pattern named in `tokenizer.ggml.pre`, then pairs are merged by rank.
//            Patterns: smollm, gpt-2, llama-bpe, qwen2, tekken.
//   "llama"  SentencePiece BPE by scores, with byte fallback (LLaMA 2, TinyLlama, Mistral, Gemma).
// Ids equal llama.cpp's for the same file (tests/parity/tokenizer_test.cpp); with tekken, whose
// pattern llama.cpp simplifies, those of the pattern as Mistral published it.
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
  // range, a merge of unknown tokens); unsupported for another kind or pattern.
  static base::result<std::shared_ptr<const tokenizer>> from(const gguf_file& file);
  ~tokenizer();
  tokenizer(const tokenizer&) = delete;
  tokenizer& operator=(const tokenizer&) = delete;

  // Any bytes are accepted. decode(encode(x, false)) == x, save for bytes that the vocabulary has
  // no token for: those are dropped, as llama.cpp does (SmolLM2 lacks a few control characters).
  // Takes O(n log n) in the length of the text, whatever it is. Adds no begin-of-text token.
  std::vector<token_id> encode(std::string_view text, bool parse_special) const;
  // The parts as one text: words may reach across their borders, as if they had been joined.
  std::vector<token_id> encode(std::span<const text_part> parts) const;
  // What a model wants to see: bos() first if add_bos(), then encode().
  std::vector<token_id> encode_prompt(std::string_view text, bool parse_special) const;
  std::vector<token_id> encode_prompt(std::span<const text_part> parts) const;
  // A text that nothing follows, without special tokens in it: as a prompt, and eos() last where
  // the file asks for it (tokenizer.ggml.add_eos_token; models that were trained to embed do).
  std::vector<token_id> encode_document(std::string_view text) const;

  // The text of a sequence. Bytes as they come: may be no UTF-8 where the ids cut a character.
  // Special tokens give nothing unless `with_special`.
  std::string decode(std::span<const token_id> ids, bool with_special = false) const;

  // The bytes a token stands for; for a special token its name ("<|im_end|>"). Empty for an id
  // outside the vocabulary. Lives as long as the tokenizer.
  std::string_view piece(token_id id) const noexcept;
  // Control and unknown tokens: they mark structure and are no part of a text.
  bool is_special(token_id id) const noexcept;
  // The token whose name in the file is exactly this ("<|im_end|>"), or no_token.
  token_id find(std::string_view name) const noexcept;

  // no_token where the file names none.
  token_id bos() const noexcept;
  token_id eos() const noexcept;
  token_id unknown() const noexcept;
  token_id padding() const noexcept;
  // Every token that ends an answer: eos, end of turn, and the usual names of such tokens
  // ("<|im_end|>", "<|eot_id|>", "<|endoftext|>", ...) where the vocabulary has them. Sorted.
  std::span<const token_id> end_tokens() const noexcept;
  bool is_end(token_id id) const noexcept;
  // Whether the model was trained with bos() before every text.
  bool add_bos() const noexcept;
  std::size_t vocab_size() const noexcept;

 private:
  struct parts;  // model/tokenizer_parts.hpp
  explicit tokenizer(std::unique_ptr<const parts> made) noexcept;
  std::unique_ptr<const parts> parts_;
};

}  // namespace dlls::model

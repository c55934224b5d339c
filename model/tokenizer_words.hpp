// Cuts text into the words inside which a byte-level BPE may merge. Internal to
// model/tokenizer*.cpp.
#pragma once
#include <cstddef>
#include <optional>
#include <string_view>

namespace dlls::model {

// The patterns, as regular expressions in their makers' tokenizer.json:
//   gpt2    's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
//   smollm  every \p{N} a word of its own, gpt2 on what lies between
//   llama3  (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}
//           | ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
//   qwen2   llama3 with \p{N} one at a time
//   tekken  [^\r\n\p{L}\p{N}]?U*V+|[^\r\n\p{L}\p{N}]?U+V*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*
//           |\s*[\r\n]+|\s+(?!\S)|\s+   with U = [\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}],
//           V = [\p{Ll}\p{Lm}\p{Lo}\p{M}] (Mistral Nemo and later)
// Written by hand: std::regex knows no Unicode classes, and recursion on a long text is a crash.
enum class word_pattern { gpt2, smollm, llama3, qwen2, tekken };

// By tokenizer.ggml.pre; none for a name we don't know.
std::optional<word_pattern> word_pattern_of(std::string_view name) noexcept;

// Walks over a text's words, front to back; every byte belongs to one word. Linear in the text.
class word_cutter {
 public:
  word_cutter(word_pattern pattern, std::string_view text) noexcept
      : pattern_(pattern), text_(text) {}
  // Empty at the end.
  std::string_view next() noexcept;

 private:
  std::size_t next_smollm() noexcept;

  word_pattern pattern_;
  std::string_view text_;
  std::size_t at_ = 0;
  std::size_t number_at_ = 0;  // smollm: where the next number begins, found up to here
};

}  // namespace dlls::model

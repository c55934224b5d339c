// Training text as token ids with the targets that count.
//
// Chat (JSON Lines, OpenAI's fine-tuning form), one conversation a line:
//   {"messages": [{"role": "user", "content": "..."},
//                 {"role": "assistant", "content": "...", "weight": 0 or 1 (default)}, ...]}
// The loss counts on what the assistant says: its content and the token that ends its turn. Weight
// 0 leaves a message out of the loss. The prompt is cut where inference would cut it, so that the
// ids in training are those the model sees when it answers.
#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "model/chat_template.hpp"
#include "model/token.hpp"
#include "model/tokenizer.hpp"

namespace dlls::model {

// One sequence: targets[i] is what should follow inputs[0..i], or kernels::no_target.
struct training_example {
  std::vector<token_id> inputs;
  std::vector<token_id> targets;  // as many as inputs
};

// Examples in the file's order. A value; the trainer takes it over.
struct dataset {
  std::vector<training_example> examples;  // each with at least one counted target
  std::string sha256;                      // of the file's bytes, 64 hexadecimal digits

  std::uint64_t tokens() const noexcept;           // inputs of one epoch
  std::uint64_t counted_targets() const noexcept;  // those in the loss
};

// Conversations from a JSONL file; `context` is the most tokens a conversation may have. Blank
// lines are skipped. invalid_argument: no conversation at all; or a line that is no such JSON, has
// no counted assistant message, or is longer than the context. The message names the line, from 1.
base::result<dataset> load_chat_jsonl(
    const std::filesystem::path& path, const tokenizer& vocabulary, const chat_template& how,
    std::uint32_t context);
// The same from memory.
base::result<dataset> parse_chat_jsonl(
    std::string_view content, const tokenizer& vocabulary, const chat_template& how,
    std::uint32_t context);

// Plain UTF-8 text as rows of `context` inputs that follow one another; every target counts. The
// last row may be shorter. invalid_argument for text of fewer than two tokens or invalid UTF-8.
base::result<dataset> load_text(
    const std::filesystem::path& path, const tokenizer& vocabulary, std::uint32_t context);
base::result<dataset> parse_text(
    std::string_view content, const tokenizer& vocabulary, std::uint32_t context);

}  // namespace dlls::model

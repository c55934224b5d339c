// What can be said about a training file without a model: that each line is a conversation.
//
// The rules are written in docs/formats.md, "Training data". The node reads the same files in
// model/dataset.hpp; whatever it refuses without asking its model is refused here first, before the
// job is queued.
#pragma once
#include <cstddef>
#include <filesystem>

#include "base/error.hpp"

namespace dlls::actors {

// The longest line of a chat file. A conversation that fills a context of 128 Ki tokens has half of
// that.
inline constexpr std::size_t training_line_bytes_max = 1u << 20;

// Both read in fixed pieces, so that memory is bounded whatever the file holds: the coordinator has
// less of it than an upload may have bytes. invalid_argument names the first bad line, from 1;
// the caller knows which file it is.

// JSON Lines of {"messages": [{"role", "content"}...]} with at least one assistant message.
base::result<> check_chat_jsonl(const std::filesystem::path& path);
// Plain UTF-8 text with something in it besides line ends.
base::result<> check_text(const std::filesystem::path& path);

}  // namespace dlls::actors

// What can be said about a training file without a model: that each line is a conversation.
#pragma once
#include <filesystem>
#include <string>

#include "base/error.hpp"

namespace dlls::actors {

// JSON Lines of {"messages": [{"role", "content"}...]} with at least one assistant message. Reads
// in pieces; memory is bounded by the longest line (1 MiB at most). invalid_argument names the
// first bad line, from 1.
base::result<> check_chat_jsonl(const std::filesystem::path& path);
// Plain UTF-8 text with something in it.
base::result<> check_text(const std::filesystem::path& path);

}  // namespace dlls::actors

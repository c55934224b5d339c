// A tokenizer out of a model file's metadata, which nobody has vouched for.
#include <fmt/core.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "model/gguf.hpp"
#include "model/tokenizer.hpp"
#include "model/tokenizer_parts.hpp"

namespace dlls::model {
namespace {
using base::errc;
using base::error;

base::result<vocabulary> read_vocabulary(const gguf_file& file) {
  const auto names = file.get_strings("tokenizer.ggml.tokens");
  if (!names) return names.error();
  if (names->empty() || names->size() > std::numeric_limits<token_id>::max())
    return error{errc::corrupt, fmt::format("the vocabulary has {} tokens", names->size())};
  vocabulary read;
  read.names.assign(names->begin(), names->end());
  read.kinds.assign(read.size(), token_kind::normal);
  if (file.has("tokenizer.ggml.token_type")) {
    const auto kinds = file.get_i32s("tokenizer.ggml.token_type");
    if (!kinds) return kinds.error();
    if (kinds->size() != read.size())
      return error{
          errc::corrupt, fmt::format("{} tokens, but {} token types", read.size(), kinds->size())};
    for (std::size_t id = 0; id < read.size(); ++id) {
      const auto kind = (*kinds)[id];
      if (kind < 0 || kind > 6)
        return error{errc::corrupt, fmt::format("token {} has the unknown type {}", id, kind)};
      if (kind != 0) read.kinds[id] = static_cast<token_kind>(kind);
    }
  }
  read.by_name.reserve(read.size());
  for (std::size_t id = 0; id < read.size(); ++id)
    read.by_name.try_emplace(read.names[id], static_cast<token_id>(id));
  return read;
}

// A token id that the file may name under `key`.
base::result<token_id> read_id(
    const gguf_file& file, std::string_view key, std::size_t vocab_size, token_id absent) {
  if (!file.has(key)) return absent < static_cast<token_id>(vocab_size) ? absent : no_token;
  const auto id = file.get_u32(key);
  if (!id) return id.error();
  if (*id >= vocab_size)
    return error{
        errc::corrupt, fmt::format("{} is {}, the vocabulary has {} tokens", key, *id, vocab_size)};
  return static_cast<token_id>(*id);
}

// Chat models end a turn with another token than eos; files rarely say so in a key of its own.
constexpr std::string_view end_names[] = {"<|eot_id|>",    "<|im_end|>",      "<|end|>",
                                          "<end_of_turn>", "<|endoftext|>",   "<|eom_id|>",
                                          "<EOT>",         "<|end_of_text|>", "</s>"};
}  // namespace

base::result<std::shared_ptr<const tokenizer>> tokenizer::from(const gguf_file& file) {
  const auto kind = file.get_string("tokenizer.ggml.model");
  if (!kind) return kind.error();
  const bool sentencepiece = *kind == "llama";
  if (!sentencepiece && *kind != "gpt2")
    return error{
        errc::unsupported, fmt::format("tokenizer '{}' is not built in", *kind),
        "byte-level BPE (gpt2) and SentencePiece (llama) are"};

  auto made = std::make_unique<parts>();
  auto tokens = read_vocabulary(file);
  if (!tokens) return tokens.error();
  made->tokens = *std::move(tokens);
  const auto size = made->tokens.size();

  auto encoder = sentencepiece ? make_sentencepiece_encoder(file, made->tokens)
                               : make_bpe_encoder(file, made->tokens);
  if (!encoder) return encoder.error();
  made->encoder = *std::move(encoder);

  // SentencePiece's customary ids hold where the file is silent.
  struct wanted {
    std::string_view key;
    token_id absent;
    token_id* into;
  };
  token_id end_of_turn = no_token;
  for (const auto& w :
       {wanted{"bos", sentencepiece ? 1 : no_token, &made->bos},
        wanted{"eos", sentencepiece ? 2 : no_token, &made->eos},
        wanted{"unknown", sentencepiece ? 0 : no_token, &made->unknown},
        wanted{"padding", no_token, &made->padding}, wanted{"eot", no_token, &end_of_turn}}) {
    const auto id = read_id(file, fmt::format("tokenizer.ggml.{}_token_id", w.key), size, w.absent);
    if (!id) return id.error();
    *w.into = *id;
  }
  const auto pattern = file.get_string("tokenizer.ggml.pre", "");
  if (!pattern) return pattern.error();
  const bool customary = sentencepiece || pattern->starts_with("llama") || *pattern == "tekken";
  const auto add_bos = file.get_bool("tokenizer.ggml.add_bos_token", customary);
  if (!add_bos) return add_bos.error();
  made->add_bos = *add_bos;
  const auto add_eos = file.get_bool("tokenizer.ggml.add_eos_token", false);
  if (!add_eos) return add_eos.error();
  made->add_eos = *add_eos;

  made->pieces.reserve(size);
  for (std::size_t i = 0; i < size; ++i) {
    const auto kind_of = made->tokens.kinds[i];
    const std::string_view token = made->tokens.names[i];
    const bool verbatim = kind_of == token_kind::control || kind_of == token_kind::unknown ||
                          kind_of == token_kind::user_defined;
    if (verbatim)
      made->specials.add(token, static_cast<token_id>(i), kind_of == token_kind::user_defined);
    made->pieces.push_back(verbatim ? std::string{token} : made->encoder->piece(token, kind_of));
  }
  made->specials.finish();

  auto& ends = made->end_tokens;
  ends = {made->eos, end_of_turn};
  for (const auto ending : end_names) {
    const auto id = made->tokens.find(ending);
    if (id != no_token && made->tokens.kinds[id] == token_kind::control) ends.push_back(id);
  }
  std::erase(ends, no_token);
  std::ranges::sort(ends);
  ends.erase(std::unique(ends.begin(), ends.end()), ends.end());
  return std::shared_ptr<const tokenizer>{new tokenizer{std::move(made)}};
}

}  // namespace dlls::model

// A complete LLaMA model file of a few hundred kilobytes, made from a seed: what tests use where no
// real model is at hand. Its answers are noise, and the same noise on every machine.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "base/random.hpp"
#include "model/gguf_writer.hpp"

namespace dlls::test {

struct tiny_model_options {
  std::uint64_t seed = 1;
  model::tensor_type type = model::tensor_type::f32;  // of the matrices; norms are f32
  std::uint32_t dim = 32;                             // heads * head_dim, whole blocks of the type
  std::uint32_t layers = 2;
  std::uint32_t heads = 2;
  std::uint32_t kv_heads = 1;
  std::uint32_t ff = 64;  // whole blocks too
  std::uint32_t context = 128;
  bool tied = true;  // no output.weight
};

// Ids: 0 <|endoftext|>, 1 <|im_start|> (bos), 2 <|im_end|> (eos), 3 + n the n-th byte in GPT-2's
// order, then the merges. ChatML with a default system prompt; pre-tokenizer smollm; no BOS added.
struct tiny_vocabulary {
  std::vector<std::string> tokens, merges;
  std::vector<std::int32_t> types;
};

// Code point of a byte in GPT-2's printable alphabet, as UTF-8.
inline std::string byte_symbol(unsigned byte) {
  auto printable = [](unsigned b) {
    return (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
  };
  unsigned code = byte;
  if (!printable(byte)) {
    code = 256;
    for (unsigned b = 0; b < byte; ++b) code += printable(b) ? 0 : 1;
  }
  if (code < 0x80) return std::string(1, static_cast<char>(code));
  return {static_cast<char>(0xC0 | (code >> 6)), static_cast<char>(0x80 | (code & 63))};
}

inline tiny_vocabulary make_tiny_vocabulary() {
  tiny_vocabulary made;
  made.tokens = {"<|endoftext|>", "<|im_start|>", "<|im_end|>"};
  made.types = {3, 3, 3};
  auto add = [&](std::string token) {
    made.tokens.push_back(std::move(token));
    made.types.push_back(1);
  };
  for (unsigned b = 0; b < 256; ++b) add(byte_symbol(b));
  const auto space = byte_symbol(' ');
  const std::vector<std::pair<std::string, std::string>> merges = {
      {space, "t"},  {space, "a"},  {"i", "n"},   {"h", "e"},          {space, space},
      {"r", "e"},    {"o", "n"},    {"e", "r"},   {space + "t", "he"}, {"a", "t"},
      {space, "s"},  {space, "o"},  {"e", "n"},   {"o", "r"},          {"l", "l"},
      {"i", "s"},    {space, "w"},  {"n", "d"},   {space + "a", "nd"}, {"in", "g"},
      {"a", "l"},    {"u", "s"},    {"us", "er"}, {"ll", "o"},         {"e", "llo"},
      {"h", "ello"}, {"H", "ello"}, {"s", "t"},   {"a", "s"},          {"as", "s"},
      {"i", "st"}};
  for (const auto& [left, right] : merges) {
    made.merges.push_back(left + " " + right);
    add(left + right);
  }
  return made;
}

// Half-precision scales, and where in a block they stand, that make values of about 0.25 at most.
struct tiny_block_scales {
  std::uint16_t d, m = 0;
  std::size_t d_at = 0, m_at = 2;
};
inline tiny_block_scales tiny_scales(model::tensor_type type) {
  using model::tensor_type;
  switch (type) {
    case tensor_type::q4_0:  // 2^-5 * (-8..7)
      return {0x2800};
    case tensor_type::q4_1:  // 2^-5 * (0..15) - 0.234375
      return {0x2800, 0xB380};
    case tensor_type::q5_0:  // 2^-6 * (-16..15)
      return {0x2400};
    case tensor_type::q5_1:  // 2^-6 * (0..31) - 0.242
      return {0x2400, 0xB3C0};
    case tensor_type::q2_k:  // 2^-7 * (0..15) * (0..3) - 2^-7 * (0..15)
      return {0x2000, 0x2000, 80, 82};
    case tensor_type::q3_k:  // 2^-9 * (-32..31) * (-4..3)
      return {0x1800, 0, 108};
    case tensor_type::q4_k:  // 2^-11 * (0..63) * (0..15) - 2^-8 * (0..63)
      return {0x1000, 0x1C00};
    case tensor_type::q5_k:  // 2^-12 * (0..63) * (0..31) - 2^-8 * (0..63)
      return {0x0C00, 0x1C00};
    case tensor_type::q6_k:  // 2^-14 * (-128..127) * (-32..31)
      return {0x0400, 0, 208};
    case tensor_type::iq4_xs:  // 2^-14 * (-32..31) * (-127..113)
      return {0x0400};
    default:  // q8_0, iq4_nl: 2^-9 * (-128..127)
      return {0x1800};
  }
}

inline void fill_tiny_tensor(
    base::random_source& random, model::tensor_type type, bool norm, std::span<std::byte> out) {
  auto put16 = [&](std::size_t at, std::uint16_t half) { std::memcpy(&out[at], &half, 2); };
  if (type == model::tensor_type::f32) {
    for (std::size_t at = 0; at < out.size(); at += 4) {
      // The sum of four uniforms is near enough to normal; deviation 0.15 (0.02 around 1 for
      // norms).
      const double u =
          random.uniform() + random.uniform() + random.uniform() + random.uniform() - 2;
      const auto value = static_cast<float>(norm ? 1 + 0.035 * u : 0.26 * u);
      std::memcpy(&out[at], &value, 4);
    }
    return;
  }
  if (type == model::tensor_type::f16 || type == model::tensor_type::bf16) {
    for (std::size_t at = 0; at < out.size(); at += 2) {  // sign, 2^-4..2^-2, all mantissas
      const bool half = type == model::tensor_type::f16;
      const unsigned bits = static_cast<unsigned>(random());
      const unsigned exponent = half ? (11 + bits % 2) << 10 : (123 + bits % 2) << 7;
      put16(
          at, static_cast<std::uint16_t>(
                  (bits & 0x8000) | exponent | ((bits >> 16) & (half ? 0x3FF : 0x7F))));
    }
    return;
  }
  for (auto& b : out) b = static_cast<std::byte>(random() >> 56);
  const auto scales = tiny_scales(type);
  for (std::size_t at = 0; at < out.size(); at += model::block_bytes(type)) {
    put16(at + scales.d_at, scales.d);
    if (scales.m != 0) put16(at + scales.m_at, scales.m);
  }
}

inline void set_tiny_metadata(model::gguf_writer& out, const tiny_model_options& o) {
  out.set_string("general.architecture", "llama");
  out.set_string("general.name", "tiny");
  out.set_u32("llama.block_count", o.layers);
  out.set_u32("llama.context_length", o.context);
  out.set_u32("llama.embedding_length", o.dim);
  out.set_u32("llama.feed_forward_length", o.ff);
  out.set_u32("llama.attention.head_count", o.heads);
  out.set_u32("llama.attention.head_count_kv", o.kv_heads);
  out.set_u32("llama.rope.dimension_count", o.dim / o.heads);
  out.set_f32("llama.rope.freq_base", 10000);
  out.set_f32("llama.attention.layer_norm_rms_epsilon", 1e-5f);
  const auto vocabulary = make_tiny_vocabulary();
  out.set_u32("llama.vocab_size", static_cast<std::uint32_t>(vocabulary.tokens.size()));
  out.set_string("tokenizer.ggml.model", "gpt2");
  out.set_string("tokenizer.ggml.pre", "smollm");
  out.set_strings("tokenizer.ggml.tokens", vocabulary.tokens);
  out.set_i32s("tokenizer.ggml.token_type", vocabulary.types);
  out.set_strings("tokenizer.ggml.merges", vocabulary.merges);
  out.set_u32("tokenizer.ggml.bos_token_id", 1);
  out.set_u32("tokenizer.ggml.eos_token_id", 2);
  out.set_u32("tokenizer.ggml.unknown_token_id", 0);
  out.set_bool("tokenizer.ggml.add_bos_token", false);
  out.set_string(
      "tokenizer.chat_template",
      "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
      "{{ '<|im_start|>system\nYou are tiny<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + "
      "message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
      "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}");
}

inline base::result<> write_tiny_model(
    const std::filesystem::path& path, const tiny_model_options& o = {}) {
  model::gguf_writer out;
  set_tiny_metadata(out, o);
  base::random_source random{o.seed};
  auto add = [&](std::string name, std::uint64_t columns, std::uint64_t rows) {
    const bool norm = rows == 0;
    const auto type = norm ? model::tensor_type::f32 : o.type;
    auto shape = norm ? std::vector{columns} : std::vector{columns, rows};
    out.add_tensor(
        std::move(name), type, std::move(shape),
        [&random, type, norm](std::span<std::byte> whole) -> base::result<> {
          fill_tiny_tensor(random, type, norm, whole);
          return {};
        });
  };
  const std::uint64_t vocab = make_tiny_vocabulary().tokens.size();
  const std::uint64_t kv = std::uint64_t{o.dim} / o.heads * o.kv_heads;
  add("token_embd.weight", o.dim, vocab);
  for (std::uint32_t l = 0; l < o.layers; ++l) {
    const auto block = "blk." + std::to_string(l) + ".";
    add(block + "attn_norm.weight", o.dim, 0);
    add(block + "attn_q.weight", o.dim, o.dim);
    add(block + "attn_k.weight", o.dim, kv);
    add(block + "attn_v.weight", o.dim, kv);
    add(block + "attn_output.weight", o.dim, o.dim);
    add(block + "ffn_norm.weight", o.dim, 0);
    add(block + "ffn_gate.weight", o.dim, o.ff);
    add(block + "ffn_up.weight", o.dim, o.ff);
    add(block + "ffn_down.weight", o.ff, o.dim);
  }
  add("output_norm.weight", o.dim, 0);
  if (!o.tied) add("output.weight", o.dim, vocab);
  return out.write(path);
}

}  // namespace dlls::test

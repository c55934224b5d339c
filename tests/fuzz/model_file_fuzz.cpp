// A model file from anywhere: opens it, and everything that reads its metadata.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>

#include "model/chat_template.hpp"
#include "model/gguf.hpp"
#include "model/llama_config.hpp"
#include "model/rope.hpp"
#include "model/tokenizer.hpp"

using namespace dlls::model;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  // A block of its own, aligned as a view must be and exactly as long, so that ASan sees its end.
  const auto copy = std::make_unique<std::byte[]>(size);
  if (size != 0) std::memcpy(copy.get(), data, size);
  const auto file = gguf_file::view({copy.get(), size});
  if (!file) return 0;
  for (const auto& t : (*file)->tensors())
    if (t.data.size() != t.rows() * (t.row_values() / block_values(t.type)) * block_bytes(t.type))
      __builtin_trap();
  for (const auto key : (*file)->keys()) {
    (void)(*file)->get_u32(key);
    (void)(*file)->get_f32(key);
    (void)(*file)->get_strings(key);
    (void)(*file)->get_i32s(key);
  }
  (void)chat_template::from(**file);
  if (const auto config = read_llama_config(**file))
    (void)make_rope(config->head_dim, config->rope_base, config->traits.scaling);
  if (const auto vocabulary = tokenizer::from(**file)) {
    const auto ids = (*vocabulary)->encode("the <|im_end|> 12  x\xFF\n", true);
    (void)(*vocabulary)->decode(ids, true);
  }
  return 0;
}

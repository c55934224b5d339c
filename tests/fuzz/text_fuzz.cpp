// Text from anywhere, through a tokenizer and back through a stream.
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string>

#include "base/encoding.hpp"
#include "model/chat_tools.hpp"
#include "model/detokenizer.hpp"
#include "model/stop_watch.hpp"
#include "model/tokenizer.hpp"
#include "tests/support/temp_folder.hpp"
#include "tests/support/tiny_model.hpp"

using namespace dlls;
using namespace dlls::model;

namespace {
std::shared_ptr<const tokenizer> make(std::string pattern) {
  test::temp_folder folder;
  gguf_writer out;
  test::set_tiny_metadata(out, {});
  out.set_string("tokenizer.ggml.pre", pattern);
  if (!out.write(folder / "v.gguf")) __builtin_trap();
  return tokenizer::from(*gguf_file::open(folder / "v.gguf").value()).value();
}
void require(bool condition) {
  if (!condition) __builtin_trap();
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const std::shared_ptr<const tokenizer> vocabularies[] = {
      make("smollm"), make("gpt-2"), make("llama-bpe"), make("qwen2"), make("tekken")};
  if (size == 0) return 0;
  const auto& vocabulary = vocabularies[data[0] % std::size(vocabularies)];
  const std::string text{reinterpret_cast<const char*>(data + 1), size - 1};
  const auto ids = vocabulary->encode(text, false);
  require(vocabulary->decode(ids) == text);
  require(vocabulary->decode(vocabulary->encode(text, true), true) == text);
  detokenizer stream{vocabulary};
  stop_watch watch{{"the", "\n\n"}};
  std::string shown;
  for (const auto id : ids) {
    const auto piece = watch.add(stream.add(id));
    require(base::is_utf8(piece));
    shown += piece;
  }
  shown += watch.finish();
  require(shown.find("the") == std::string::npos);
  (void)parse_chat_tools(text);
  for (const auto form :
       {tool_form::hermes, tool_form::llama3, tool_form::mistral, tool_form::gemma})
    (void)parse_tool_calls(form, text, {});
  return 0;
}

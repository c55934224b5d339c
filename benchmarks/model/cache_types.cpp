// What a key-value cache's element type costs in quality: the perplexity of a text, and the memory
// of a page, for each type.
//
//     bench_cache_types MODEL TEXT... [context=512] [windows=24] [threads=2]
//
// The texts, one after the other, are cut into windows as model/evaluate.hpp has it.
#include <fmt/core.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>

#include "benchmarks/model/settings.hpp"
#include "kernels/parallel.hpp"
#include "model/evaluate.hpp"
#include "model/gguf.hpp"
#include "model/llama.hpp"

namespace dlls {
namespace {

struct settings {
  std::size_t context = 512, windows = 24, threads = 2;
  std::string text;

  // A setting, or a file with more of the text.
  bool take(std::string_view argument) {
    if (set_number(argument, {{"context", &context}, {"windows", &windows}, {"threads", &threads}}))
      return true;
    std::ifstream file{std::string(argument)};
    text.append(std::istreambuf_iterator<char>(file), {});
    return file.good();
  }
};

int compare(const model::llama& llama, const model::tokenizer& vocabulary, const settings& s) {
  using kernels::element;
  kernels::thread_pool pool(s.threads);
  constexpr std::pair<element, const char*> types[] = {
      {element::f32, "f32"}, {element::f16, "f16"}, {element::q8_0, "q8_0"}};
  for (const auto& [type, name] : types) {
    const auto found = model::perplexity(
        llama, vocabulary, s.text, static_cast<std::uint32_t>(s.context), pool, {}, type);
    if (!found) return fmt::print(stderr, "{}\n", found.error().text()), 1;
    fmt::print(
        "cache={} page_kib={:.1f} context={} windows={} tokens={} perplexity={:.4f} nll={:.6f}\n",
        name, static_cast<double>(model::kv_pool::page_bytes(llama.config(), type)) / 1024,
        s.context, found->windows, found->tokens_scored, found->perplexity, found->mean_nll);
    std::fflush(stdout);
  }
  return 0;
}

int run(int count, char** arguments) {
  settings s;
  if (count < 3) return fmt::print(stderr, "usage: bench_cache_types MODEL TEXT... [...]\n"), 2;
  for (int i = 2; i < count; ++i)
    if (!s.take(arguments[i])) return fmt::print(stderr, "what is '{}'?\n", arguments[i]), 2;
  const auto file = model::gguf_file::open(arguments[1]);
  if (!file) return fmt::print(stderr, "{}\n", file.error().text()), 1;
  const auto llama = model::llama::load(*file);
  const auto vocabulary = model::tokenizer::from(**file);
  if (!llama || !vocabulary) return fmt::print(stderr, "not a model to evaluate\n"), 1;
  // Just enough for the windows.
  const auto ids = (*vocabulary)->encode_prompt(s.text, false);
  if (const auto wanted = s.windows * s.context; ids.size() > wanted + 1)
    s.text = (*vocabulary)->decode(std::span(ids).first(wanted + 1));
  return compare(**llama, **vocabulary, s);
}

}  // namespace
}  // namespace dlls

int main(int count, char** arguments) { return dlls::run(count, arguments); }

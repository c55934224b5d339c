// dlls tokenize, dlls eval: what a model file does with a text, as JSON.
#include <fmt/core.h>

#include <iostream>
#include <iterator>
#include <thread>

#include "base/file.hpp"
#include "cli/command.hpp"
#include "cli/json.hpp"
#include "cli/progress_bar.hpp"
#include "kernels/parallel.hpp"
#include "model/evaluate.hpp"
#include "model/llama.hpp"
#include "model/tokenizer.hpp"

namespace dlls::cli {
using base::errc;
using base::error;
using base::result;

namespace {

result<std::string> text_from(const std::string& literal, const std::string& file) {
  if (file.empty()) return literal;
  if (file == "-")
    return std::string{std::istreambuf_iterator<char>{std::cin}, std::istreambuf_iterator<char>{}};
  return base::read_file(file, 256u << 20);
}

struct tool_flags {
  std::string model, text, file, prompt;
  bool special = false, f32 = false;
  std::uint32_t context = 512;
  std::size_t top = 10;
  unsigned threads = 0;
};

result<int> tokenize(const tool_flags& how) {
  auto file = model::gguf_file::open(how.model);
  if (!file) return file.error();
  auto vocabulary = model::tokenizer::from(**file);
  if (!vocabulary) return vocabulary.error();
  auto text = text_from(how.text, how.file);
  if (!text) return text.error();
  const auto ids = (*vocabulary)->encode(*text, how.special);
  json::array list;
  for (const auto id : ids) list.push_back(id);
  fmt::print("{}\n", json::serialize(json::object{{"count", ids.size()}, {"ids", list}}));
  return 0;
}

result<int> evaluate(const tool_flags& how) {
  auto file = model::gguf_file::open(how.model);
  if (!file) return file.error();
  auto vocabulary = model::tokenizer::from(**file);
  if (!vocabulary) return vocabulary.error();
  auto weights =
      model::llama::load(*file, how.f32 ? model::activations::f32 : model::activations::q8);
  if (!weights) return weights.error();
  kernels::thread_pool pool(
      how.threads ? how.threads : std::max(1u, std::thread::hardware_concurrency()));
  json::object out{{"model", how.model}, {"arithmetic", how.f32 ? "f32" : "q8"}};
  if (!how.prompt.empty()) {
    const auto ids = (*vocabulary)->encode_prompt(how.prompt, how.special);
    auto next = model::next_tokens(**weights, ids, how.top, pool);
    if (!next) return next.error();
    json::array list;
    for (const auto& one : *next)
      list.push_back(json::object{
          {"id", one.token},
          {"text", (*vocabulary)->piece(one.token)},
          {"logit", one.logit},
          {"logprob", one.logprob}});
    out["next"] = std::move(list);
  }
  if (!how.text.empty() || !how.file.empty()) {
    auto text = text_from(how.text, how.file);
    if (!text) return text.error();
    progress_bar bar("perplexity");
    auto report =
        model::perplexity(**weights, **vocabulary, *text, how.context, pool, [&](float share) {
          bar.show(static_cast<std::uint64_t>(share * 1000), 1000);
          return true;
        });
    if (!report) return report.error();
    out["context"] = how.context;
    out["perplexity"] = report->perplexity;
    out["mean_nll"] = report->mean_nll;
    out["tokens_scored"] = report->tokens_scored;
    out["windows"] = report->windows;
  }
  if (!out.contains("next") && !out.contains("perplexity"))
    return error{errc::invalid_argument, "nothing to evaluate", "give --prompt, --text or --file"};
  fmt::print("{}\n", json::serialize(out));
  return 0;
}

}  // namespace

void add_model_tools(program& to) {
  auto how = std::make_shared<tool_flags>();
  auto* tokens = add_command(
      to, "tokenize", "the token ids of a text (JSON)",
      [how](const settings&) { return tokenize(*how); });
  auto* eval = add_command(
      to, "eval", "perplexity of a text, likeliest next tokens of a prompt (JSON)",
      [how](const settings&) { return evaluate(*how); });
  for (auto* command : {tokens, eval}) {
    command->add_option("-m,--model", how->model, "a GGUF file")
        ->required()
        ->check(CLI::ExistingFile);
    command->add_option("--text", how->text, "the text itself");
    command->add_option("--file", how->file, "a file with the text; - is standard input");
    command->add_flag(
        "--special", how->special, "read <|im_start|> and its like as special tokens");
  }
  eval->add_option("--context", how->context, "tokens of a window (default 512)");
  eval->add_option("--prompt", how->prompt, "a prompt whose next token is asked");
  eval->add_option("--top", how->top, "how many (default 10)");
  eval->add_flag("--f32", how->f32, "activations in F32 instead of 8-bit blocks");
  eval->add_option("--threads", how->threads, "default: one a core");
}

}  // namespace dlls::cli
